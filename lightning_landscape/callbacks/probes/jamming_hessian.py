"""JammingHessian: the parts of the Hessian of a network at given times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import View
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require
from lightning_landscape.observables.gaps import hinge_loss, unsatisfied
from lightning_landscape.observables.jamming import effective_parameters, part_spectra

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["JammingHessian"]

_PARTS = ["H", "H0", "Hp"]
# modes below this part of the largest are zero: rounding leaves them at 1e-16
_ZERO = 1e-12


class JammingHessian(Probe):
    """Measure all eigenvalues of H and of its parts, H = H0 + Hp, of a network at given times.

    H0 = (1/P) sum grad Delta grad Delta^T over the unsatisfied patterns has at most N_Delta modes
    that are not zero; Hp = (1/P) sum Delta grad grad Delta bends the others. A minimum needs
    N_Delta >= N_-(Hp), the number of negative modes of Hp; for ReLU tr Hp = 0, and N_-(Hp) is near
    N/2. At the transition Hp vanishes with the gaps: a branch of small eigenvalues parts from the
    bulk of H0.

    The record has, for each of H, H0 and Hp: ``eigenvalues``, ascending; how many are ``negative``
    and how many ``zero``, to 1e-12 of the largest modulus; and for each replica N_Delta, the loss,
    and N_eff, see `effective_parameters`. At a minimum of ReLU networks patterns sit on kinks,
    which no Hessian sees, and a few modes of H are slightly negative.

    A measurement costs 3 N gradients and a few dense solves of size N, so it is for networks of
    hundreds of parameters; beyond, use `HessianSpectrum`, or `split_of` and its operators.

    Args:
        times: when to measure (the step size times the number of steps).
        dense_up_to: the largest N for which all eigenvalues are computed.
        name, strict: see `Probe`.

    Raises:
        UsageError: a time is negative, or the run is not that of a `NetworkEnergy` in float64
            with at most ``dense_up_to`` parameters.

    Source: Geiger et al. 2019, PRE 100, 012115, arXiv:1809.09349.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        "eigenvalues": ("t", "part", "replica", "eigenvalue"),
        **dict.fromkeys(("negative", "zero"), ("t", "part", "replica")),
        **dict.fromkeys(("unsatisfied", "loss", "effective_parameters"), ("t", "replica")),
    }
    reference = "Geiger et al. 2019, arXiv:1809.09349"

    def __init__(self, times: Sequence[float], dense_up_to: int = 1000, **options: Any) -> None:
        super().__init__(Times.at(times), None, **options)
        self.dense_up_to = dense_up_to

    def prepare(self, view: View) -> str:
        """Refuse what has no such parts, and start empty tables."""
        R, N = view.shape
        kind = type(view.system).__name__
        is_network = isinstance(view.landscape, NetworkEnergy)
        require(is_network, "energy", kind, "must be a NetworkEnergy", "use HessianSpectrum")
        fits, remedy = N <= self.dense_up_to, "raise dense_up_to, or use HessianSpectrum"
        require(fits, "N", N, f"must be at most dense_up_to = {self.dense_up_to}", remedy)
        dtype = view.parameters()[0].dtype
        remedy = "give the architecture dtype: float64"
        require(dtype == torch.float64, "dtype", dtype, "zero modes need float64", remedy)
        self.results = {"step": torch.empty(0, dtype=torch.int64)}
        return f"{len(self._steps)} measurements of {3 * N} gradients, {16 * R * N**2 / 1e6:.3g} MB"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append the spectra at this time."""
        energy = view.landscape
        assert isinstance(energy, NetworkEnergy)
        with view.measuring():
            row = _row(energy)
        self.append(view, row)
        negative, zero = row["negative"].double().mean(1), row["zero"].double().mean(1)
        return {
            "negative modes of H": negative[0].item(),
            "negative modes of Hp": negative[2].item(),
            "zero modes of H0": zero[1].item(),
        }

    def dataset(self) -> Dataset:
        """Return eigenvalues (t, part, replica, eigenvalue) and counts (t, part, replica)."""
        return super().dataset().assign_coords(part=_PARTS).assign_attrs(zero_below=_ZERO)


def _row(energy: NetworkEnergy) -> dict[str, Tensor]:
    eigenvalues = part_spectra(energy)
    zero = _ZERO * eigenvalues.abs().amax(-1, keepdim=True)
    gaps = energy.gaps().cpu()
    shape = energy.inputs.shape[1:]
    return {
        "eigenvalues": eigenvalues,
        "negative": (eigenvalues < -zero).sum(-1),
        "zero": (eigenvalues.abs() <= zero).sum(-1),
        "unsatisfied": unsatisfied(gaps),
        "loss": hinge_loss(gaps),
        "effective_parameters": effective_parameters(energy.architecture, shape).cpu(),
    }
