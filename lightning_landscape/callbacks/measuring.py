"""The setting in which a run is measured; it leaves no trace in the run."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_landscape import parallel
from lightning_landscape.callbacks.isolation import isolated, snapshot
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require

__all__ = ["measuring", "require_together"]


@contextmanager
def measuring(module: nn.Module) -> Iterator[None]:
    """Let the body evaluate and differentiate ``module`` twice without changing the trajectory.

    Inside: gradients are on and inference mode is off, even in validation hooks; autocast is off;
    compiled code runs eagerly and attention uses its plain form, because neither has a double
    backward otherwise. Afterwards: the random state of torch, NumPy and Python, the buffers
    (batch-norm statistics) and the training mode of every submodule are as before. What an
    evaluation changes is undone by `isolated`; the whole body is isolated too,
    because a backward pass runs hooks, and forwards of checkpointed activations, outside of it.
    The body must not call ``backward`` (it would add to ``.grad``): use `torch.autograd.grad`.

    Args:
        module: the module that the body evaluates.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    modes = [(m, m.training) for m in module.modules()]
    buffers = list(_buffers(module))
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            torch.compiler.set_stance("force_eager"),
            sdpa_kernel(SDPBackend.MATH),
            nullcontext() if _is_ours(module) else isolated(module),
        ):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        for m, training in modes:
            m.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                # batch norm writes without a change of the version
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def _is_ours(module: nn.Module) -> bool:
    """Whether a module has no side effects: it is an `Energy`, or has one."""
    return isinstance(module, Energy) or isinstance(getattr(module, "energy", None), Energy)


def require_together(parameters: Iterable[torch.Tensor]) -> None:
    """Raise a `UsageError` if derivatives are asked for in parameters that ranks have cut."""
    remedy = "measure the energy or the configuration, or use a LandscapeModule"
    required = "its derivatives cannot be measured where FSDP2 cuts the parameters"
    together = not any(map(parallel.is_cut, parameters))
    require(together, "module", "FSDP2", required, remedy)


def _buffers(module: nn.Module) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield buffers and their copies; data sets and couplings of an `Energy` never change."""
    energies = [m for m in module.modules() if isinstance(m, Energy)]
    ours = {m for energy in energies for m in energy.modules()}
    for m in module.modules():
        for name, buffer in m._buffers.items():
            if buffer is None or buffer.is_inference():
                continue
            if m not in ours:
                yield buffer, snapshot(buffer)
            elif name not in m._non_persistent_buffers_set:
                yield buffer, buffer.detach().clone()
