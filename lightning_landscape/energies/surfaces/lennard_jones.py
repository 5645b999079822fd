"""Clusters of Lennard-Jones atoms."""

from __future__ import annotations

import math
from itertools import permutations

import torch
from torch import Tensor

from lightning_landscape.energies.surfaces.surface import Surface
from lightning_landscape.errors import require_whole
from lightning_landscape.memory import require_memory

__all__ = ["LennardJones"]


class LennardJones(Surface):
    """E(x) = 4 sum_{i<j} (r_ij^-12 - r_ij^-6) of n atoms in three dimensions, N = 3 n.

    In units of the depth and the diameter of the pair potential. The configuration of a replica is
    (x_1, y_1, z_1, x_2, …). The energy is that of the true potential at every distance: two atoms
    in the same place have an infinite one.

    Args:
        atoms: n >= 3.
        replicas: R.
        start: the standard deviation of the normal start of every coordinate.
        seed: of the start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an argument is out of range.

    Source: Jones 1924, Proc. R. Soc. A 106, 463; minima: Wales, Doye 1997, cond-mat/9803344.

    >>> energy = LennardJones(atoms=3, dtype="float64")
    >>> side = 2 ** (1 / 6)
    >>> triangle = [0.0, 0, 0, side, 0, 0, side / 2, side * 0.75**0.5, 0]
    >>> energy.load_configuration(torch.tensor([triangle], dtype=torch.float64))
    >>> round(energy().item(), 10)
    -3.0
    """

    pairs: Tensor

    def __init__(
        self,
        atoms: int,
        replicas: int = 1,
        start: float = 1.0,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        require_whole("atoms", atoms, least=3)
        require_memory(6 * 8.0 * atoms**2, "atoms", atoms, "give fewer")
        super().__init__(3 * atoms, replicas, start, seed, dtype)
        self.atoms = atoms
        self.register_buffer("pairs", torch.triu_indices(atoms, atoms, 1), persistent=False)

    def value(self, x: Tensor) -> Tensor:
        """Return E at each row of ``x`` (B, 3 n), shape (B,)."""
        atoms = x.view(-1, self.atoms, 3)
        i, j = self.pairs
        u = (atoms[:, i] - atoms[:, j]).square().sum(2).pow(-3)
        return 4 * (u * (u - 1)).sum(1)

    def slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E, shape (B,), and its gradient, shape (B, 3 n)."""
        if _compiled(x):
            from lightning_landscape.energies.surfaces._pair_kernels import pair_slope

            x = x.detach().contiguous()
            energy, slope = x.new_empty(len(x)), torch.empty_like(x)
            pair_slope(x.numpy(), energy.numpy(), slope.numpy())
            return energy, slope
        atoms = x.view(-1, self.atoms, 3)
        s = self._squares(atoms)
        u = s.pow(-3)
        E = 2 * (u * (u - 1)).sum((1, 2))
        w = -24 * u * (2 * u - 1) / s  # twice dE/ds; 0 on the diagonal, where s is infinite
        gradient = w.sum(2, keepdim=True) * atoms - w @ atoms
        return E, gradient.flatten(1)

    def curvature(self, x: Tensor) -> Tensor:
        """Return the second derivatives, shape (B, 3 n, 3 n)."""
        if _compiled(x):
            from lightning_landscape.energies.surfaces._pair_kernels import pair_curvature

            x = x.detach().contiguous()
            H = x.new_empty(len(x), self.N, self.N)
            pair_curvature(x.numpy(), H.numpy())
            return H
        atoms = x.view(-1, self.atoms, 3)
        s = self._squares(atoms)
        d = atoms.unsqueeze(2) - atoms.unsqueeze(1)  # (B, n, n, 3)
        u = s.pow(-3)
        first, second = -12 * u * (2 * u - 1) / s, 24 * u * (7 * u - 2) / s.square()
        identity = torch.eye(3, dtype=x.dtype, device=x.device)
        outer = d.unsqueeze(-1) * d.unsqueeze(-2)
        blocks = -(4 * second[..., None, None] * outer + 2 * first[..., None, None] * identity)
        own = blocks.sum(2)
        blocks.diagonal(dim1=1, dim2=2).copy_(-own.permute(0, 2, 3, 1))
        return blocks.transpose(2, 3).reshape(len(x), self.N, self.N)

    def _squares(self, atoms: Tensor) -> Tensor:
        """Return the squared distances (B, n, n), infinite from an atom to itself."""
        s = (atoms.unsqueeze(2) - atoms.unsqueeze(1)).square().sum(3)
        s.diagonal(dim1=1, dim2=2).fill_(math.inf)
        return s

    def zero_modes(self, x: Tensor) -> Tensor:
        """Return the translations and rotations at ``x`` (B, 3 n), orthonormal, (B, 6, 3 n).

        The atoms must not lie on one line.
        """
        atoms = x.view(-1, self.atoms, 3)
        centred = atoms - atoms.mean(1, keepdim=True)
        axes = torch.eye(3, dtype=x.dtype, device=x.device)
        shifts = axes.view(3, 1, 3).expand(len(x), 3, self.atoms, 3)
        turns = torch.linalg.cross(axes.view(1, 3, 1, 3), centred.unsqueeze(1), dim=-1)
        modes = torch.cat([shifts, turns], dim=1).flatten(2)  # (B, 6, 3 n)
        return torch.linalg.qr(modes.mT).Q.mT

    def nearest_copy(self, x: Tensor, to: Tensor) -> Tensor:
        """Return the copies of rows of ``x`` (B, 3 n) that are nearest to the rows of ``to``.

        Copies by permutations, rotations, reflections and translations, all of the same energy.
        Cost: 50 milliseconds a row.
        """
        from lightning_landscape.energies.surfaces._nearest_copy import nearest_copy

        pairs = zip(x.view(-1, self.atoms, 3), to.view(-1, self.atoms, 3), strict=True)
        rows = [torch.from_numpy(nearest_copy(a.numpy(), b.numpy())) for a, b in pairs]
        return torch.stack(rows).flatten(1).to(x)

    @property
    def log_copies(self) -> float:
        """The logarithm of 2 n!: copies by permutation and inversion of a cluster of order 1."""
        return math.log(2) + math.lgamma(self.atoms + 1)

    def symmetry_order(self, x: Tensor, tolerance: float = 1e-3) -> Tensor:
        """Return the order of the point group of each row of ``x``, shape (B,), int64.

        It is the number of rotations and reflections that permute the atoms; a configuration has
        2 n!/order copies. Cost: n^4 operations a row in Python.

        Args:
            x: configurations, shape (B, 3 n).
            tolerance: how far an atom may be from its image.
        """
        atoms = x.view(-1, self.atoms, 3)
        return torch.tensor([_point_group_order(row, tolerance) for row in atoms])


def _compiled(x: Tensor) -> bool:
    """Whether the kernels of `_pair_kernels` apply."""
    return x.device.type == "cpu"


def _point_group_order(atoms: Tensor, tolerance: float) -> int:
    """Count the orthogonal maps of a cluster (n, 3) onto itself, by the images of three atoms."""
    r = atoms - atoms.mean(0)
    gram = r @ r.T
    base = _basis(r)
    images = torch.tensor(list(permutations(range(len(r)), 3)))
    wanted = gram[base][:, base]
    found = gram[images.unsqueeze(2), images.unsqueeze(1)]
    close = (found - wanted).abs().amax((1, 2)) < tolerance
    images = images[close]
    # (m, 3, 3) maps with map @ r[base] = r[images]
    inverse = torch.linalg.pinv(r[base])
    maps = inverse @ r[images]
    moved = r @ maps
    nearest = torch.cdist(moved, r.expand(len(maps), -1, -1)).amin(2).amax(1)
    orthogonal = (maps.mT @ maps - torch.eye(3, dtype=r.dtype)).abs().amax((1, 2)) < tolerance
    return max(1, int((orthogonal & (nearest < 3 * tolerance)).sum()))


def _basis(r: Tensor) -> Tensor:
    """Return three atoms whose positions span space as well as any."""
    triples = torch.combinations(torch.arange(len(r)), 3)
    return triples[torch.linalg.det(r[triples]).abs().argmax()]
