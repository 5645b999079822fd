"""KernelMotion: by how much the tangent kernel moves in training, at several widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from lightning_landscape.activations import ActivationName
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.dynamics.layer_rates import LayerRates
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require, require_whole
from lightning_landscape.observables.wide_networks import (
    fully_connected_tangent_kernels,
    kernel_alignment,
    kernel_motion,
)
from lightning_landscape.studies.ensembles.rounds import (
    EnsembleRound,
    one_by_one,
    recorded_points,
    train,
)
from lightning_landscape.studies.study import Compute, Result, Study
from lightning_landscape.studies.table import columns

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["KernelMotion"]


class KernelMotion(Study):
    r"""Trains networks of several widths on the same data, and measures how their kernel moves.

    Gradient descent on the squared error, with the learning rates of `LayerRates` and from the
    critical initialisation. Recorded are, of each seed, |Theta - Theta_0| / |Theta_0| on the
    training data, mean over its networks, the alignment with the targets before and after, and the
    loss at the end. At s = 0 and with a smooth sigma the motion is of order 1/n; at s > 0 of order
    n^(s-1).

    Args:
        data: the training data, of two classes.
        widths: the n.
        activations: the sigma.
        depth: L, layers of weights.
        lr: of the mean squared error, see `LayerRates`.
        steps: of training.
        width_exponent: s.
        networks: of one seed, trained together.
        seeds: of each width.
        seed: of the first.

    Raises:
        UsageError: a number is out of range, or the data are not of two classes.

    Source: the order of the motion: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 11;
    s: Yaida 2022, arXiv:2210.04909.
    """

    name: ClassVar[str] = "kernel_motion"
    dims: Mapping[str, tuple[str, ...]] = {}

    def __init__(
        self,
        data: LabelledData,
        widths: list[int],
        activations: list[ActivationName],
        depth: int = 3,
        lr: float = 1.0,
        steps: int = 1000,
        width_exponent: float = 0.0,
        networks: int = 4,
        seeds: int = 4,
        seed: int = 0,
    ) -> None:
        require(data.classes == 2, "classes of the data", data.classes, "must be 2")
        several = len(set(widths)) == len(widths) >= 2 and min(widths) >= 2
        require(several, "widths", widths, "must be two or more, each at least 2, all distinct")
        require(len(activations) >= 1, "activations", activations, "must be at least one")
        for name, number in {"steps": steps, "networks": networks}.items():
            require_whole(name, number)
        for name, number in {"depth": depth, "seeds": seeds}.items():
            require_whole(name, number, 2)
        require(lr > 0, "lr", lr, "must be > 0")
        self.widths, self.activations, self.seeds = widths, activations, seeds
        how = depth, lr, steps, width_exponent, networks, seed
        self._networks = _Networks(data, *how)

    @property
    def compute(self) -> Compute:
        """Trains the networks of the seeds of a share."""
        return one_by_one(self._networks.run)

    def next(self, recorded: Sequence[Result]) -> EnsembleRound | None:
        """Return the first activation and width that are not recorded."""
        done = recorded_points(recorded, ["activation", "width"])
        every = [(sigma, n) for sigma in self.activations for n in self.widths]
        return next((EnsembleRound(point) for point in every if point not in done), None)

    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all seeds along ``run``."""
        from xarray import Dataset

        attributes = {
            "probe": "KernelMotion",
            "energy": "NetworkEnergy",
            "depth": self._networks.depth,
            "width_exponent": self._networks.width_exponent,
            "replicas": self.seeds * self._networks.networks,
            "reference": "Roberts, Yaida, Hanin 2021, arXiv:2106.10165",
        }
        return Dataset(columns(recorded, self.dims), attrs=attributes)

    def line(self, each: EnsembleRound, new: Sequence[Result]) -> str:
        """Return the motion."""
        sigma, n = each.point
        motion = np.mean([result["motion"] for result in new])
        loss = np.mean([result["loss"] for result in new])
        return f"{sigma}, n = {n}: the kernel moved by {motion:.4f}, loss {loss:.2g}"


@dataclass(frozen=True)
class _Networks:
    """How the networks of a seed are trained; it can be pickled."""

    data: LabelledData
    depth: int
    lr: float
    steps: int
    width_exponent: float
    networks: int
    seed: int

    def run(self, each: EnsembleRound, seed: int) -> Result:
        sigma, n = each.point
        d = self.data.inputs[0].numel()
        net = FullyConnected(
            [d, *[int(n)] * (self.depth - 1), 1],
            sigma,  # type: ignore[arg-type]
            self.networks,
            self.seed + seed,
            initialization="critical",
            width_exponent=self.width_exponent,
        )
        energy = NetworkEnergy(net, self.data, "squared")
        rates = LayerRates(partial(torch.optim.SGD, lr=self.lr), sigma, self.width_exponent)  # type: ignore[arg-type]
        factors = rates.factors([tuple(p.shape) for p in net.parameters()])
        of_weights, of_biases = factors[: self.depth], factors[self.depth :]
        in_units = [f * m for f, m in zip(of_weights, net.widths[:-1], strict=True)]
        before = fully_connected_tangent_kernels(net, energy.inputs, of_biases, in_units)
        train(energy, rates, self.steps)
        after = fully_connected_tangent_kernels(net, energy.inputs, of_biases, in_units)
        y = energy.targets
        return {
            "activation": str(sigma),
            "width": int(n),
            "seed": self.seed + seed,
            "motion": kernel_motion(after, before).mean().item(),
            "alignment_before": kernel_alignment(before, y).mean().item(),
            "alignment": kernel_alignment(after, y).mean().item(),
            "loss": energy.evaluate("train")["energy"].mean().item(),
        }
