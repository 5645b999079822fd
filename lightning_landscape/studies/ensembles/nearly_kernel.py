"""NearlyKernel: trained ensembles of several widths against networks of infinite width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from lightning_landscape.activations import ActivationName
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require, require_whole
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
from lightning_landscape.theory.wide_networks.gradient_flow import gradient_flow_first_order
from lightning_landscape.theory.wide_networks.kernels import input_kernel, kernels
from lightning_landscape.theory.wide_networks.layer import Layer
from lightning_landscape.theory.wide_networks.prediction import Prediction, gradient_descent
from lightning_landscape.theory.wide_networks.several_inputs.training_tensors import (
    training_tensors,
)

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["NearlyKernel"]

_MOST_SAMPLES, _TESTS = 16, 8  # of the prediction at order 1/n: in training, and at a time in test


class NearlyKernel(Study):
    """Trains ensembles of critical networks of several widths n to the end of gradient descent.

    Recorded are what every network answers to the held-out samples, and the mean and the variance
    that the kernel and the tangent kernel of infinite width predict. For at most 16 training
    samples and a smooth activation so are the predictions at order 1/n, those of gradient flow: the
    steps should be short. The kernels have the learning rates of the optimizer: lambda_b is that of
    the biases of a layer, lambda_W that of its weights times the fan-in. So plain gradient descent
    and `LayerRates` are both described.

    Args:
        data: A training samples of two classes, and held-out ones.
        optimizer: makes a dynamics of gradient descent without noise or momentum.
        widths: the n.
        depth: L, the layers of weights.
        steps: of training, on all data at each step; enough to fit them.
        activation: sigma.
        replicas: networks of a seed, trained together.
        seeds: of each width.
        seed: of the first.

    Raises:
        UsageError: a number is out of range, or the data have more than two classes.
    """

    name: ClassVar[str] = "nearly_kernel"
    dims: Mapping[str, tuple[str, ...]] = {
        "output": ("network", "sample"),
        "train_loss": ("network",),
    }

    def __init__(
        self,
        data: LabelledData,
        optimizer: OptimizerFactory,
        widths: Sequence[int] = (16, 32, 64),
        depth: int = 3,
        steps: int = 1200,
        activation: ActivationName = "tanh",
        replicas: int = 100,
        seeds: int = 4,
        seed: int = 0,
    ) -> None:
        whole = {"depth": depth, "steps": steps, "replicas": replicas, "seeds": seeds}
        for name, number in whole.items():
            require_whole(name, number)
        distinct = len(set(widths)) == len(widths) >= 1
        require(distinct, "widths", list(widths), "must be one or more distinct ones")
        require(data.classes == 2, "classes of the data", data.classes, "must be 2")
        self.seeds, self.widths = seeds, list(widths)
        self._ensemble = _Ensemble(data, optimizer, depth, steps, activation, replicas, seed)

    @property
    def compute(self) -> Compute:
        """Trains the networks of the seeds of a share, seed after seed."""
        return one_by_one(self._ensemble.run)

    def next(self, recorded: Sequence[Result]) -> EnsembleRound | None:
        """Return the first width that is not recorded."""
        done = recorded_points(recorded, ["width"])
        return next((EnsembleRound((n,)) for n in self.widths if (n,) not in done), None)

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return the outputs along ``run``, ``network`` and ``sample``, and what is predicted."""
        from xarray import Dataset

        predicted = self._ensemble.predicted(max(self.widths))
        variables = columns(recorded, self.dims) | {
            "mean_exact": (("sample",), predicted.mean),
            "variance_exact": (("sample",), predicted.covariance.diagonal().copy()),
        }
        if self._first_order is not None:
            for name, values in zip(("mean", "variance"), self._first_order, strict=True):
                variables[f"{name}_first_order"] = (("sample",), values)
        attributes = {
            "probe": "NearlyKernel",
            "energy": "NetworkEnergy",
            "depth": self._ensemble.depth,
            "activation": self._ensemble.activation,
            "samples": len(self._ensemble.data.inputs),
            "replicas": self.seeds * self._ensemble.replicas,
        }
        return Dataset(variables, attrs=attributes)

    @cached_property
    def _first_order(self) -> tuple[Array, Array] | None:
        return self._ensemble.first_order(max(self.widths))

    def line(self, each: EnsembleRound, new: Sequence[Result]) -> str:
        """Return the ratio of the variances."""
        outputs = np.concatenate([result["output"] for result in new])
        exact = self._ensemble.predicted(int(each.point[0])).covariance.trace()
        ratio = outputs.var(0, ddof=1).sum() / exact
        loss = max(max(result["train_loss"]) for result in new)
        return f"width {each.point[0]}: variance / kernel {ratio:.3f}, training loss < {loss:.1e}"


@dataclass(frozen=True)
class _Ensemble:
    """How the networks of a seed are trained; it can be pickled."""

    data: LabelledData
    optimizer: OptimizerFactory
    depth: int
    steps: int
    activation: ActivationName
    replicas: int
    seed: int

    def networks(self, width: int, replicas: int, seed: int) -> FullyConnected:
        d = self.data.inputs[0].numel()
        widths = [d, *[width] * (self.depth - 1), 1]
        return FullyConnected(
            widths, self.activation, replicas, seed, initialization="critical", dtype="float64"
        )

    def run(self, each: EnsembleRound, seed: int) -> Result:
        width = int(each.point[0])
        net = self.networks(width, self.replicas, self.seed + seed)
        energy = NetworkEnergy(net, self.data, "squared")
        train(energy, self.optimizer, self.steps)
        with torch.no_grad():
            outputs = net(energy.get_buffer("test_inputs").unsqueeze(0)).squeeze(2)
        return {
            "width": width,
            "seed": self.seed + seed,
            "output": outputs.tolist(),
            "train_loss": energy.evaluate("train")["energy"].tolist(),
        }

    def predicted(self, width: int) -> Prediction:
        """Return what networks of infinite width answer, at the rates of those of ``width``."""
        layer, rates = self._theory(width)
        x = torch.cat([self.data.inputs, self.data.test_inputs])
        K, tangent = kernels(layer, _kernel(layer, x), self.depth, *rates)
        return gradient_descent(K[-1], tangent[-1], self._targets)

    def first_order(self, width: int) -> tuple[Array, Array] | None:
        """Return n times what the mean and the variance change by at order 1/n, if it is known."""
        layer, rates = self._theory(width)
        if len(self.data.inputs) > _MOST_SAMPLES or layer.sigma.kinks:
            return None
        parts = []
        for tests in self.data.test_inputs.split(_TESTS):
            x = torch.cat([self.data.inputs, tests])
            tensors = training_tensors(layer, _kernel(layer, x), self.depth, *rates, log2_points=11)
            kernel = gradient_descent(tensors.K, tensors.tangent, self._targets)
            first = gradient_flow_first_order(tensors, self._targets, width=1)
            variance = (first.covariance - kernel.covariance).diagonal()
            parts.append((first.mean - kernel.mean, variance))
        mean, variance = (np.concatenate(each) for each in zip(*parts, strict=True))
        return mean, variance

    @property
    def _targets(self) -> Array:
        targets: Array = 2.0 * self.data.targets.numpy() - 1
        return targets

    def _theory(self, width: int) -> tuple[Layer, tuple[Array, Array]]:
        """Return the layer, and lambda_b and lambda_W of every layer up to a common factor."""
        net = self.networks(width, 1, 0)
        groups = self.optimizer(net.parameters()).param_groups
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        bias_rate = np.array([rates[id(b)] for b in net.biases])
        fan_in = [n for n, _ in pairwise(net.widths)]
        pairs = zip(net.weights, fan_in, strict=True)
        weight_rate = np.array([rates[id(W)] * n for W, n in pairs])
        scale = weight_rate.max()
        layer = Layer(self.activation, net.weight_variance, net.bias_variance)
        return layer, (bias_rate / scale, weight_rate / scale)


def _kernel(layer: Layer, x: torch.Tensor) -> Array:
    return input_kernel(layer, x.flatten(1).double().numpy())
