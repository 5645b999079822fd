"""One landscape at many configurations at once: what every search needs of an energy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.energies.energy import Energy, HasCopies, HasHessian
from lightning_landscape.errors import require, require_kind
from lightning_landscape.rng import Stream

__all__ = ["Landscape", "Points", "retract"]

# energies that are kept, by their number of replicas: making one costs as much as a gradient
_SIZES = 256


class Points(NamedTuple):
    """Where searches have ended.

    Attributes:
        x: configurations, shape (B, N).
        energy: their energies, shape (B,).
        converged: whether the gradient is below the tolerance, shape (B,), bool.
    """

    x: Tensor
    energy: Tensor
    converged: Tensor


class Landscape(Checked):
    """The landscape of one replica of an energy, evaluated at any number of rows x, shape (B, N).

    On a sphere |x|^2 = N gradients and Hessians are those in the tangent space, with the
    multiplier mu = -x.g/N. Zero modes (`Energy.zero_modes`) are shifted above the spectrum, so that
    the lowest mode is never a rotation.

    Args:
        energy: in float64; it is left as it is.
        replica: whose data, couplings or penalty define the landscape.

    Attributes:
        N: the number of degrees of freedom.
        sphere: the constraint, or None.
        gradients: how many gradients have been evaluated, each row one.
        hessians: the same for Hessians.

    Raises:
        UsageError: the energy is not in float64, or there is no such replica.

    >>> from lightning_landscape.energies import SixHumpCamel
    >>> landscape = Landscape(SixHumpCamel(dtype="float64"))
    >>> landscape.spectrum(torch.zeros(1, 2, dtype=torch.float64)).round(decimals=4)
    tensor([[-8.0623,  8.0623]], dtype=torch.float64)
    """

    def __init__(self, energy: Energy, replica: int = 0) -> None:
        require_kind("energy", energy, Energy)
        number = next(energy.parameters()).dtype
        required = "must be float64: searches take differences of gradients"
        remedy = "make the energy with dtype = float64, or call its double()"
        require(number == torch.float64, "dtype of the energy", number, required, remedy)
        known = 0 <= replica < energy.replicas
        require(known, "replica", replica, f"must be 0 … {energy.replicas - 1}")
        self.energy = energy.only(torch.tensor([replica]))
        with torch.no_grad():
            self.energy()  # what an energy makes at its first evaluation is made once
        self._sized: dict[int, Energy] = {}
        self.N, self.sphere = energy.N, energy.constraint
        self.has_hessian = isinstance(energy, HasHessian)
        self.gradients = self.hessians = 0

    def sized(self, rows: int) -> Energy:
        """Return an energy of this landscape with so many replicas."""
        if rows not in self._sized:
            if len(self._sized) >= _SIZES:
                self._sized.clear()
            self._sized[rows] = self.energy.only(torch.zeros(rows, dtype=torch.int64))
        return self._sized[rows]

    def at(self, x: Tensor) -> Energy:
        """Return an energy whose replicas are at the rows of ``x``."""
        energy = self.sized(len(x))
        energy.place(x)
        return energy

    def starts(self, seed: int, first: int, number: int, width: float = 1.0) -> Tensor:
        """Return random starts, (number, N): normal of this width, or uniform on the sphere.

        Row r is a function of the seed and ``first`` + r.
        """
        stream, x = Stream(seed, "starts"), torch.empty(number, self.N, dtype=torch.float64)
        for r, row in enumerate(x):
            stream.normal_(row, step=first + r)
        return self.retract(width * x)

    def retract(self, x: Tensor) -> Tensor:
        """Return the configurations that the rows of ``x`` stand for: scaled to the sphere."""
        return x if self.sphere is None else self.sphere.retract_(x.clone())

    def nearest_copy(self, x: Tensor, to: Tensor) -> Tensor:
        """Return the copies of rows of ``x`` (B, N) that are nearest to the rows of ``to``.

        By the symmetries of clusters; of other energies ``x`` itself.
        """
        return self.energy.nearest_copy(x, to) if isinstance(self.energy, HasCopies) else x

    def tangent(self, v: Tensor, x: Tensor) -> Tensor:
        """Return the parts of ``v``, shape (B, N), in which the rows of ``x`` can move."""
        return v if self.sphere is None else self.sphere.project_(v.clone(), x)

    def zero_modes(self, x: Tensor) -> Tensor:
        """Return orthonormal zero modes, shape (B, K, N)."""
        return self.energy.zero_modes(x)

    def project(self, v: Tensor, modes: Tensor) -> Tensor:
        """Return ``v``, shape (B, N), without its components along zero modes (B, K, N)."""
        return v - (modes.mT @ (modes @ v.unsqueeze(2))).squeeze(2)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the energies (B,) and the gradients (B, N), tangent on the sphere."""
        if not len(x):
            return x.new_empty(0), x.clone()
        self.gradients += len(x)
        E, g = self.sized(len(x)).value_and_gradient(x)
        return E, g if self.sphere is None else self.sphere.project_(g, x)

    def product(self, x: Tensor, g: Tensor, v: Tensor, step: float = 1e-6) -> Tensor:
        """Return H v, shape (B, N), by one more gradient: [g(x + h v) - g(x)] / h.

        Args:
            x: configurations, shape (B, N).
            g: the gradients there.
            v: unit vectors, tangent on the sphere.
            step: h.
        """
        ahead = self.value_and_gradient(self.retract(x + step * v))[1]
        Hv = (ahead - g) / step
        return Hv if self.sphere is None else self.sphere.project_(Hv, x)

    def hessian(self, x: Tensor) -> Tensor:
        """Return the Hessians (B, N, N), zero modes shifted above all other eigenvalues."""
        H, modes = self._free_hessian(x), self.zero_modes(x)
        if modes.shape[1]:
            along = modes.mT @ modes
            P = torch.eye(self.N, dtype=x.dtype) - along
            H = P @ H @ P
            H = H + (1 + torch.linalg.matrix_norm(H))[:, None, None] * along
        return (H + H.mT) / 2

    def reduced_hessian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Hessians in the space orthogonal to K zero modes, and orthonormal bases of it.

        Q^T H Q, shape (B, N - K, N - K), and Q, shape (B, N, N - K). For clusters, whose K = 6,
        its eigenvectors cost a third of those of `hessian`.
        """
        modes, H = self.zero_modes(x), self._free_hessian(x)
        K = modes.shape[1]
        if not K:
            return (H + H.mT) / 2, torch.eye(self.N, dtype=x.dtype).expand(len(x), -1, -1)
        Q = torch.linalg.qr(modes.mT, mode="complete").Q[:, :, K:]
        H = Q.mT @ H @ Q
        return (H + H.mT) / 2, Q

    def _free_hessian(self, x: Tensor) -> Tensor:
        """Return the Hessians (B, N, N) with zero modes; on the sphere with the multiplier."""
        self.hessians += len(x)
        energy = self.at(x)
        if isinstance(energy, HasHessian):
            H = energy.hessian().clone()
        else:
            H = HessianOperator(energy, energy.parameters()).dense()
        if self.sphere is not None:
            g = energy.value_and_gradient(x)[1]
            self.gradients += len(x)
            multiplier = -torch.linalg.vecdot(x, g) / self.N
            H.diagonal(dim1=1, dim2=2).add_(multiplier.unsqueeze(1))
        return H

    def spectrum(self, x: Tensor) -> Tensor:
        """Return the eigenvalues, ascending, without those of the zero modes: (B, N - K)."""
        if not len(x):
            return x.new_empty(0, self.N - self.energy.zero_modes(x.new_ones(1, self.N)).shape[1])
        return torch.linalg.eigvalsh(self.reduced_hessian(x)[0])

    def lowest_mode(self, x: Tensor) -> Tensor:
        """Return the eigenvectors of the lowest eigenvalues, shape (B, N), from the Hessian."""
        H, Q = self.reduced_hessian(x)
        return (Q @ torch.linalg.eigh(H).eigenvectors[:, :, :1]).squeeze(2)


def retract(landscape: Landscape, x: Tensor, step: Tensor, longest: float) -> Tensor:
    """Return x + step, the step no longer than ``longest``, on the landscape's manifold."""
    length = step.norm(dim=1, keepdim=True)
    return landscape.retract(x + step * (longest / length).clamp_max(1.0).nan_to_num(1.0))
