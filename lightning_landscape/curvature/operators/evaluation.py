"""The setting in which an energy is evaluated, so that it can be differentiated twice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_landscape.energies.networks.graphs import plain_graphs
from lightning_landscape.errors import require

__all__ = ["evaluate", "seed_evaluation", "twice_differentiable"]


@contextmanager
def twice_differentiable(device: torch.device) -> Iterator[None]:
    """Let the body build a graph that has second derivatives, and leave the random state alone.

    Energies of ours leave a graph of plain operations. Gradients are on, inference mode and
    autocast off; attention and recurrent layers take their plain forms and compiled code runs
    eagerly, because their fast forms have no second derivative.

    Args:
        device: where the body computes.
    """
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.inference_mode(False),
        torch.enable_grad(),
        plain_graphs(),
        torch.autocast(device.type, enabled=False),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.cudnn.flags(enabled=False),
    ):
        # dynamo takes a second to import, and nothing is compiled where nobody has imported it
        if "torch._dynamo" not in sys.modules:
            yield
        else:
            with torch.compiler.set_stance("force_eager"):
                yield


def evaluate(energy: Callable[[], Tensor]) -> Tensor:
    """Return the energies, shape (R,), with their graph; a scalar is one replica.

    Raises:
        UsageError: it is neither a scalar nor one number per replica, or has no graph.
    """
    energies = energy()
    right = isinstance(energies, Tensor) and energies.dim() <= 1
    got = tuple(energies.shape) if isinstance(energies, Tensor) else energies
    require(right, "energy()", got, "must be a tensor: a scalar, or one per replica (R,)")
    remedy = "compute it from the parameters, outside torch.no_grad() and without detach()"
    require(energies.requires_grad, "energy()", energies, "depends on no parameter", remedy)
    return energies.reshape(-1)


def seed_evaluation(key: int) -> None:
    """Seed what an evaluation draws, on the CPU and on CUDA.

    `torch.manual_seed` does the same, at 0.5 ms, since it looks at every kind of device.
    """
    torch.default_generator.manual_seed(key)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(key)
