"""LearningCurve: how many samples of a random hierarchy networks and kernels need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_landscape.data.batches import Batches
from lightning_landscape.data.hierarchy import Grammar, RandomHierarchy
from lightning_landscape.energies.networks.architectures import Architecture
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require, require_whole
from lightning_landscape.observables.synonym_invariance import synonym_sensitivity
from lightning_landscape.studies.ensembles.rounds import (
    EnsembleRound,
    OptimizerFactory,
    one_by_one,
    recorded_points,
    train,
)
from lightning_landscape.studies.study import Compute, Result, Study
from lightning_landscape.studies.table import columns
from lightning_landscape.theory.wide_networks.averages import Array
from lightning_landscape.theory.wide_networks.kernels import kernels
from lightning_landscape.theory.wide_networks.layer import Layer

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["KERNEL", "LearningCurve", "hierarchy_kernel"]

KERNEL = "tangent kernel"
"""The name of regression with the tangent kernel, among those of networks."""

NetworkFactory = Callable[[], Architecture]


class LearningCurve(Study):
    """Measures the test error on a random hierarchy against the number P of training samples.

    A deep network that sees the hierarchy needs of the order of P* = n_c m^L samples, and P is
    given in units of it. Recorded are the fraction of wrong answers on the held-out samples, and
    the sensitivity of the outputs to the exchange of the synonyms of each level. Every seed has
    rules, samples and initial weights of its own.

    Source: Cagnetta et al. 2024, arXiv:2307.02129.

    Args:
        networks: by name, what makes a network, given its ``seed``; trained by the cross-entropy.
            Of several replicas the mean is recorded.
        optimizer: makes the dynamics.
        loads: the P / P*, by name of a network or ``tangent kernel``, the regression with the
            tangent kernel of infinite width.
        v: symbols, see `Grammar`.
        m: synonyms.
        L: levels.
        s: branching.
        n_c: classes.
        batch_size: of a step.
        steps: the most of them.
        until: the training loss that ends the training.
        kernel_depth: layers of the fully connected ReLU network of infinite width.
        test_samples: how many are held out.
        seeds: of each point.
        seed: of the first.

    Raises:
        UsageError: a number is out of range, or a load is of no known network.
    """

    name: ClassVar[str] = "learning_curve"
    dims: Mapping[str, tuple[str, ...]] = {"sensitivity": ("level",)}

    def __init__(
        self,
        networks: dict[str, NetworkFactory],
        optimizer: OptimizerFactory,
        loads: dict[str, list[float]],
        v: int = 8,
        m: int = 4,
        L: int = 3,
        s: int = 2,
        n_c: int = 8,
        batch_size: int = 128,
        steps: int = 4000,
        until: float = 1e-3,
        kernel_depth: int = 4,
        test_samples: int = 2048,
        seeds: int = 2,
        seed: int = 0,
    ) -> None:
        whole = {"batch_size": batch_size, "steps": steps, "seeds": seeds}
        for name, number in (whole | {"kernel_depth": kernel_depth}).items():
            require_whole(name, number)
        unknown = sorted({*loads} - {*networks, KERNEL})
        require(not unknown, "loads", unknown, f"must be of {', '.join([*networks, KERNEL])}")
        self.seeds = seeds
        grammar = Grammar(v, m, L, s, n_c, seed)
        self.characteristic_size = size = grammar.characteristic_size
        self._points = [(name, round(load * size)) for name in loads for load in loads[name]]
        data = partial(RandomHierarchy, v, m, L, s, n_c, test_samples=test_samples)
        for _, P in self._points:
            fits = 1 <= P <= grammar.size - test_samples
            required = f"must leave {test_samples} of the {grammar.size} samples for testing"
            require(fits, "loads", f"{P / size:g}", required, "raise m or L")
        self._learners = _Learners(
            networks, optimizer, data, Batches(batch_size), steps, until, kernel_depth, seed
        )
        self._attributes = {"v": v, "m": m, "L": L, "s": s, "n_c": n_c}

    @property
    def compute(self) -> Compute:
        """Trains the networks of the seeds of a share, one after the other."""
        return one_by_one(self._learners.run)

    def next(self, recorded: Sequence[Result]) -> EnsembleRound | None:
        """Return the first point that is not recorded."""
        done = recorded_points(recorded, ["learner", "P"])
        return next((EnsembleRound(point) for point in self._points if point not in done), None)

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all seeds of all points along ``run``."""
        from xarray import Dataset

        attributes = {
            "probe": "LearningCurve",
            "energy": "NetworkEnergy",
            "characteristic_size": self.characteristic_size,
            "replicas": self.seeds,
            **self._attributes,
        }
        return Dataset(columns(recorded, self.dims), attrs=attributes)

    def line(self, each: EnsembleRound, new: Sequence[Result]) -> str:
        """Return the mean error."""
        name, P = each.point
        error = np.mean([result["error"] for result in new])
        return f"{name}, P = {P} = {int(P) / self.characteristic_size:g} P*: error {error:.4f}"


@dataclass(frozen=True)
class _Learners:
    """How a point is computed; it can be pickled."""

    networks: dict[str, NetworkFactory]
    optimizer: OptimizerFactory
    data: Callable[..., RandomHierarchy]
    batches: Batches
    steps: int
    until: float
    kernel_depth: int
    seed: int

    def run(self, each: EnsembleRound, seed: int) -> Result:
        name, P = str(each.point[0]), int(each.point[1])
        data = self.data(samples=P, seed=self.seed + seed)
        place = {"learner": name, "P": P, "seed": self.seed + seed}
        if name == KERNEL:
            error = _error_of_kernel(data, self.kernel_depth)
            nothing = [float("nan")] * data.grammar.L
            return place | {"error": error, "steps": 0, "sensitivity": nothing}
        factory: Callable[..., Architecture] = self.networks[name]
        net = factory(seed=self.seed + seed)
        energy = NetworkEnergy(net, data)
        batches = Batches(min(self.batches.batch_size, P), seed=self.seed + seed)
        steps = train(energy, self.optimizer, self.steps, batches, self.until)
        error = 1 - energy.evaluate("test")["accuracy"].mean().item()
        return place | {"error": error, "steps": steps, "sensitivity": _sensitivity(net, data)}


@torch.no_grad()
def _sensitivity(net: Architecture, data: RandomHierarchy) -> list[float]:
    """Return that of the outputs to the synonyms of each level."""
    if data.grammar.m == 1:
        return [float("nan")] * data.grammar.L

    def outputs(x: Tensor) -> list[Tensor]:
        return [net(x.unsqueeze(0)).transpose(1, 2)]

    found = synonym_sensitivity(outputs, data.grammar, data.test_derivations)
    values: list[float] = found[0].mean(-1).tolist()
    return values


def hierarchy_kernel(data: RandomHierarchy, depth: int) -> Array:
    """Return the tangent kernel of all samples, training samples first, shape (P + M, P + M).

    Of fully connected critical ReLU networks of infinite width with ``depth`` layers of weights,
    equal rates in all layers, and of weights and biases. Samples have equal norms, and their
    scalar product is decided by the number of leaves that they have in common: d + 1 values.
    """
    leaves, v = data.grammar.leaves, data.grammar.v
    common = torch.cat([data.inputs, data.test_inputs]).argmax(-1)
    one_hot = torch.nn.functional.one_hot(common, v).float().flatten(1)
    equal = (one_hot @ one_hot.T).round().long().numpy()
    layer = Layer.critical("relu")
    table = np.empty(leaves + 1)
    for count in range(leaves + 1):
        product = (v * count / leaves - 1) / (v - 1)  # x . x' / |x|^2
        K1 = layer.weight_variance * np.array([[1.0, product], [product, 1.0]])
        table[count] = kernels(layer, K1, depth).tangent[-1, 0, 1]
    return table[equal]


def _error_of_kernel(data: RandomHierarchy, depth: int) -> float:
    """Return the fraction of wrong answers of kernel regression on one-hot targets."""
    P = len(data.inputs)
    kernel = torch.from_numpy(hierarchy_kernel(data, depth))
    targets = torch.nn.functional.one_hot(data.targets, data.classes).double()
    factor = torch.linalg.cholesky(kernel[:P, :P])
    answers = kernel[P:, :P] @ torch.cholesky_solve(targets - 1 / data.classes, factor)
    return float((answers.argmax(1) != data.test_targets).double().mean())
