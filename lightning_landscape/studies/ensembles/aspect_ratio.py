"""AspectRatio: networks of one width and several depths, trained on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lightning_landscape.activations import ActivationName
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.losses import LossName
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
from lightning_landscape.theory.wide_networks.aspect_ratio import optimal_aspect_ratio
from lightning_landscape.theory.wide_networks.criticality import criticality

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["AspectRatio"]


class AspectRatio(Study):
    """Trains networks of width n and several depths L, to see which r = L/n generalizes best.

    Depth L counts layers of weights: L - 1 hidden layers. All start at the critical initialisation
    of the activation. Recorded are, for each network, loss and accuracy on the training and the
    held-out data; and r* = 4 / ((20 + 3 n_L) nu), see `theory.wide_networks.optimal_aspect_ratio`.

    Args:
        data: training and held-out data; with two classes the networks have one output.
        optimizer: makes the dynamics; with `LayerRates` all layers learn alike at any depth.
        width: n.
        depths: the L.
        steps: of training, on all data at each step.
        activation: sigma.
        loss: as for `NetworkEnergy`.
        replicas: networks of a seed, trained together.
        seeds: of each depth.
        seed: of the first.

    Raises:
        UsageError: a number is out of range, or the activation has no critical initialisation.
    """

    name: ClassVar[str] = "aspect_ratio"
    dims: Mapping[str, tuple[str, ...]] = {
        name: ("network",) for name in ("loss", "accuracy", "train_loss", "train_accuracy")
    }

    def __init__(
        self,
        data: LabelledData,
        optimizer: OptimizerFactory,
        width: int = 32,
        depths: Sequence[int] = (2, 4, 6, 8, 12),
        steps: int = 300,
        activation: ActivationName = "tanh",
        loss: LossName = "squared",
        replicas: int = 24,
        seeds: int = 4,
        seed: int = 0,
    ) -> None:
        for name, number in {"width": width, "steps": steps, "replicas": replicas}.items():
            require_whole(name, number)
        require_whole("seeds", seeds)
        several = len(set(depths)) == len(depths) >= 2 and min(depths) >= 2
        require(
            several, "depths", list(depths), "must be two or more, each at least 2, all distinct"
        )
        self.seeds, self.depths = seeds, list(depths)
        nu = criticality(activation).nu
        self._networks = _Networks(data, optimizer, width, steps, activation, loss, replicas, seed)
        self.optimal = optimal_aspect_ratio(nu, self._networks.outputs)

    @property
    def compute(self) -> Compute:
        """Trains the networks of the seeds of a share, seed after seed."""
        return one_by_one(self._networks.run)

    def next(self, recorded: Sequence[Result]) -> EnsembleRound | None:
        """Return the first depth that is not recorded."""
        done = recorded_points(recorded, ["depth"])
        return next((EnsembleRound((L,)) for L in self.depths if (L,) not in done), None)

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all seeds along ``run``, their networks along ``network``."""
        from xarray import Dataset

        attributes = {
            "probe": "AspectRatio",
            "energy": "NetworkEnergy",
            "width": self._networks.width,
            "activation": self._networks.activation,
            "replicas": self.seeds * self._networks.replicas,
            "r_optimal": self.optimal,
        }
        return Dataset(columns(recorded, self.dims), attrs=attributes)

    def line(self, each: EnsembleRound, new: Sequence[Result]) -> str:
        """Return the mean loss and accuracy."""
        loss = np.mean([result["loss"] for result in new])
        accuracy = np.mean([result["accuracy"] for result in new])
        return f"depth {each.point[0]}: test loss {loss:.4f}, accuracy {accuracy:.4f}"


@dataclass(frozen=True)
class _Networks:
    """How the networks of a seed are trained; it can be pickled."""

    data: LabelledData
    optimizer: OptimizerFactory
    width: int
    steps: int
    activation: ActivationName
    loss: LossName
    replicas: int
    seed: int

    @property
    def outputs(self) -> int:
        return 1 if self.data.classes == 2 else self.data.classes

    def run(self, each: EnsembleRound, seed: int) -> Result:
        depth = int(each.point[0])
        d = self.data.inputs[0].numel()
        widths = [d, *[self.width] * (depth - 1), self.outputs]
        net = FullyConnected(
            widths, self.activation, self.replicas, self.seed + seed, initialization="critical"
        )
        energy = NetworkEnergy(net, self.data, self.loss)
        train(energy, self.optimizer, self.steps)
        test, training = energy.evaluate("test"), energy.evaluate("train")
        return {
            "depth": depth,
            "seed": self.seed + seed,
            "loss": test["energy"].tolist(),
            "accuracy": test["accuracy"].tolist(),
            "train_loss": training["energy"].tolist(),
            "train_accuracy": training["accuracy"].tolist(),
        }
