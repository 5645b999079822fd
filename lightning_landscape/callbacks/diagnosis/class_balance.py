"""ClassBalance: how a network treats the classes, at initialization and in training."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_landscape.callbacks.batches import tensors
from lightning_landscape.callbacks.isolation import isolated
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.wide_networks.tangent_kernel import OutputFn
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.operators.evaluation import twice_differentiable
from lightning_landscape.curvature.operators.kept_graph import second_backward
from lightning_landscape.curvature.operators.parameters import FlatParameters
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import UsageError, require, require_whole
from lightning_landscape.replicas import flatten

__all__ = ["ClassBalance"]

_OF_CLASS = ("share", "recall", "class_loss", "descent")


class ClassBalance(Probe):
    r"""Measure how the data are shared among the classes, and how the loss of each class falls.

    At time 0 and on a log grid, for each replica and class c:

    - ``share``, the share G_c of the samples for which c is guessed. Before training it is uneven,
      because the outputs of one network for two inputs are correlated (initial guessing bias), and
      ``repeated`` = sum_c G_c^2 says how much: 1/C without bias, and 1 where all guesses are one
      class. For fully connected networks the record has its exact expectation at infinite width
      beside it, for these samples, see `repeated_guess`;
    - ``recall``, the share of the samples of c for which c is guessed;
    - ``class_loss``, the mean loss E_c over the samples of c;
    - ``descent``, g_c . g / |g|^2 with g_c the gradient of E_c and g that of the mean over all: the
      rate at which E_c falls under gradient descent, in units of that of E. With the class
      frequencies p_c, sum_c p_c ``descent``_c = 1. Under imbalance g is that of the majority, and
      classes with a negative one get worse: the minority's initial drop.

    Energies are `NetworkEnergy`, on the first ``samples`` training samples. In a foreign project
    the samples are those of the current batch, which must begin with inputs and integer labels,
    the scores are those of ``output_fn`` in the modes of training, and the loss is their
    cross-entropy; a single score is that of the second of two classes.

    Cost of a measurement: about two gradients of the samples, whatever the number of classes.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        samples: how many training samples of a run of ours, at most.
        output_fn: the scores of a foreign module, ``output_fn(pl_module, inputs)``; None calls the
            module with the inputs.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: an argument is out of range, or there are no scores and labels.

    Source: initial guessing bias: Francazi, Lucchi & Baity-Jesi 2023, arXiv:2306.00809; imbalance:
    Francazi, Baity-Jesi & Lucchi 2022, arXiv:2207.00391.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(_OF_CLASS, ("t", "replica", "class")),
        "repeated": ("t", "replica"),
        "frequency": ("t", "class"),
        "gram": ("sample", "other"),
    }
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "share": {"long_name": "share of the samples for which the class is guessed"},
        "repeated": {"long_name": "sum of the squared shares"},
        "recall": {"long_name": "share of the samples of the class for which it is guessed"},
        "class_loss": {"long_name": "mean loss of the samples of the class"},
        "descent": {"long_name": "g_c . g / |g|^2"},
        "frequency": {"long_name": "share of the samples that have the class as label"},
        "gram": {"long_name": "x . x' / n_0"},
    }
    reference = "Francazi, Lucchi, Baity-Jesi 2023, arXiv:2306.00809"

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 3,
        samples: int = 256,
        output_fn: OutputFn | None = None,
        **options: Any,
    ) -> None:
        require_whole("samples", samples)
        required = "must be a function of (pl_module, inputs), or None"
        require(output_fn is None or callable(output_fn), "output_fn", output_fn, required)
        super().__init__(Times.log(first, last, per_decade), None, **options)
        self.samples, self.output_fn = samples, output_fn

    def prepare(self, view: View) -> str:
        """Check the energy; the tables start with the first measurement."""
        self.results = {}
        energy = view.landscape
        if energy is not None:
            known = isinstance(energy, NetworkEnergy)
            required = "has no classes"
            remedy = "use NetworkEnergy"
            require(known, "energy", type(energy).__name__, required, remedy)
        return f"at most {len(self._steps)} measurements, of two gradients of the samples"

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run, with the ensemble of initial networks."""
        described, energy = super().describe(view), view.landscape
        net = energy.architecture if isinstance(energy, NetworkEnergy) else None
        if not isinstance(net, FullyConnected) or net.skip:
            return described
        return described | {
            "activation": net.sigma.name,
            "weight_variance": net.weight_variance,
            "bias_variance": net.bias_variance,
            "widths": list(net.widths),
        }

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append what the classes are at this time."""
        device = view.parameters()[0].device
        with view.measuring(), twice_differentiable(device):
            torch.manual_seed(view.step)
            scores, losses, labels = self._of_ours(view) if view.is_whole else self._of_batch(view)
            classes = max(scores.shape[-1], 2)
            inside = 0 <= int(labels.min()) and int(labels.max()) < classes
            required = f"must be below the number of scores, {classes}"
            require(inside, "labels", int(labels.max()), required)
            row = _row(view, scores, losses, labels, classes)
        if "gram" not in self.results and isinstance(view.landscape, NetworkEnergy):
            x = view.landscape.inputs[: self.samples].flatten(1).double()
            self.results["gram"] = (x @ x.T / x.shape[1]).float().cpu()
        self.append(view, row)
        return {
            "largest_share": row["share"].amax(-1).mean().item(),
            "lowest_recall": row["recall"].nan_to_num(1.0).amin(-1).mean().item(),
        }

    def _of_ours(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        energy = view.landscape
        assert isinstance(energy, NetworkEnergy)
        rows = torch.arange(min(self.samples, energy.samples), device=energy.inputs.device)
        parameters = tuple(energy.architecture.parameters())
        with torch.no_grad():
            scores = energy.architecture.outputs(parameters, energy.inputs[rows].unsqueeze(0))
        targets = energy.targets[rows]
        labels = (targets[:, 0] > 0).long() if targets.shape[1] == 1 else targets.argmax(1)
        return scores, energy.losses(parameters, rows), labels

    def _of_batch(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores (1, B, k), losses (1, B) and labels (B,) of a foreign project's batch."""
        found = tensors(view.batch)
        remedy = "only such batches are measured"
        right = len(found) >= 2 and found[1].dim() == 1 and not found[1].is_floating_point()
        kind = type(view.batch).__name__
        require(right, "batch", kind, "must begin with inputs and integer labels, (B,)", remedy)
        with isolated(view.system, view.batch) as batch:
            x, labels = tensors(batch)[:2]
            module = view.system
            try:
                scores = module(x) if self.output_fn is None else self.output_fn(module, x)
            except NotImplementedError as error:
                name = type(module).__name__
                raise UsageError(f"{name} has no forward(inputs); give an output_fn") from error
        shape = getattr(scores, "shape", type(scores).__name__)
        right = isinstance(scores, Tensor) and scores.dim() == 2 and len(scores) == len(labels)
        require(right, "outputs", shape, f"must be ({len(labels)}, classes)", "give an output_fn")
        if scores.shape[1] == 1:
            target = labels.to(scores.dtype)
            losses = F.binary_cross_entropy_with_logits(scores[:, 0], target, reduction="none")
        else:
            losses = F.cross_entropy(scores, labels, reduction="none")
        return scores.detach().unsqueeze(0), losses.unsqueeze(0), labels


def _row(
    view: View, scores: Tensor, losses: Tensor, labels: Tensor, classes: int
) -> dict[str, Tensor]:
    """Return the row of a record; nan for what a class without samples does not have."""
    guess = (scores[..., 0] > 0).long() if scores.shape[-1] == 1 else scores.argmax(-1)
    of_class = F.one_hot(labels, classes).double()
    guesses = F.one_hot(guess, classes).double()
    sums = {
        "labels": of_class.sum(0),
        "guesses": guesses.sum(1),
        "hits": (guesses * of_class).sum(1),
        "losses": losses.detach().double() @ of_class,
    }
    total = {name: view.reduce(value, "sum").cpu() for name, value in sums.items()}
    count, whole = total["labels"], total["labels"].sum()
    slopes, square = _slopes(view, losses)
    along = view.reduce(slopes @ of_class, "sum").cpu() / square.unsqueeze(1).cpu()
    share = total["guesses"] / whole
    return {
        "share": share,
        "repeated": share.square().sum(1),
        "recall": total["hits"] / count,
        "class_loss": total["losses"] / count,
        "descent": along * whole / count,
        "frequency": count / whole,
    }


def _slopes(view: View, losses: Tensor) -> tuple[Tensor, Tensor]:
    """Return g . grad E_mu of the samples, (R, B), and |g|^2, (R,), with g = sum_mu grad E_mu.

    g is that of all ranks. As sum_mu u_mu grad E_mu . g is linear in u, its derivative in u has
    all slopes at once.
    """
    moving, R = view.parameters(), view.shape[0]
    u = torch.ones_like(losses, requires_grad=True)
    pulled = torch.autograd.grad(losses, moving, u, create_graph=True, materialize_grads=True)
    at = FlatParameters(moving, R)
    g = flatten(part.detach().to_dense().reshape(R, -1) for part in pulled)
    g = view.reduce(g, "sum")
    slopes = second_backward(pulled, [u], at.split(g.unsqueeze(1)))[0][0]
    return slopes.double(), g.double().square().sum(1)
