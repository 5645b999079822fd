"""An orthonormal Krylov basis of R symmetric matrices in lockstep."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_landscape.curvature.operators.vectors import norms, require_finite
from lightning_landscape.rng import Stream

if TYPE_CHECKING:
    from lightning_landscape.curvature.operators.base import CurvatureOperator

__all__ = ["KrylovBasis", "Ritz"]

_COLUMNS_AT_ONCE = 2**24


class Ritz(NamedTuple):
    """Approximate eigenpairs of R matrices in a basis of m vectors, all float64.

    Attributes:
        values: (R, m), ascending.
        vectors: their coefficients in the basis, as columns, (R, m, m).
        residuals: (R, m).
        noise: what the antisymmetric part of the products contributes to them, (R, m).
        asymmetry: largest antisymmetric coefficient relative to the largest value, (R,).
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    noise: Tensor
    asymmetry: Tensor


class KrylovBasis:
    r"""The relation `H Q = Q C + 0`, where every entry of C is measured.

    Each new product `H q_j` is orthogonalised against the whole basis by two classical
    Gram-Schmidt passes, and all its coefficients are kept, not only the three that would be
    non-zero in exact arithmetic. Three things follow without another product: eigenpairs from the
    symmetric part of C; residuals that contain rounding and any asymmetry of the operator, because
    they are taken from C itself; thick restart, which only changes the basis.

    One pass leaves overlaps of eps over the share of the norm that it left, which multiply from
    step to step where the Krylov space is nearly invariant, as at a multiple eigenvalue; after a
    second pass they stay at eps ("twice is enough": B. Parlett, The Symmetric Eigenvalue Problem,
    section 6.9). A vector that vanishes (the Krylov space is invariant) is replaced by a random
    direction with coefficient zero, so that the other replicas, and the copies of a multiple
    eigenvalue, go on.

    All replicas start from the same random vector: R replicas give what R single runs give.

    Args:
        operator: R matrices of size N.
        rows: how many vectors the basis can hold, at most N.
        block: how many vectors are multiplied at once.
        seed: of the start vectors.
        start: added to the first one, which is of length 1, (R, N).
    """

    def __init__(
        self,
        operator: CurvatureOperator,
        rows: int,
        block: int,
        seed: int,
        start: Tensor | None = None,
    ) -> None:
        R, N = operator.replicas, operator.N
        self.operator, self.rows, self.block = operator, rows, block
        self.vectors = torch.empty(R, rows, N, dtype=operator.dtype, device=operator.device)
        self.coefficients = torch.zeros(R, 0, 0, dtype=torch.float64)
        self.multiplied = 0
        self.size = 0
        self._scale = torch.zeros(R, dtype=torch.float64)
        self._stream, self._draws = Stream(seed, "probes"), 0
        if start is not None:
            first = self._random_direction() + start.to(self.vectors).unsqueeze(1)
            self._push(first, norms(first)[:, 0])
        for _ in range(block - self.size):
            self._push(self._random_direction(), torch.ones(R))

    @property
    def is_complete(self) -> bool:
        """Whether the basis spans the whole space, so that all eigenpairs are exact."""
        return self.multiplied == self.operator.N

    @property
    def is_full(self) -> bool:
        """Whether another block must wait for `compress`."""
        return self.size + self.block > self.rows < self.operator.N

    def expand(self) -> int:
        """Multiply the newest block, orthogonalise the products; return how many there were."""
        old, first = self.size, self.multiplied
        self._make_room(min(old + self.block, self.rows))
        W = self.operator.matmat(self.vectors[:, first:old])
        lengths = norms(W)
        require_finite(lengths)
        self._scale = torch.maximum(self._scale, lengths.amax(1))
        self.coefficients[:, :old, first:old] = _remove(W, self.vectors[:, :old])
        self.multiplied = old
        for i in range(old - first):
            self._append(W[:, i : i + 1], column=first + i)
        return old - first

    def ritz(self) -> Ritz:
        """Return the eigenpairs of the symmetric part of C, with their residuals."""
        m = self.multiplied
        C = self.coefficients[:, : self.size, :m]
        T = C[:, :m]
        values, vectors = torch.linalg.eigh((T + T.mT) / 2)
        remainder = C @ vectors
        remainder[:, :m] -= vectors * values[:, None]
        odd = (T - T.mT) / 2
        return Ritz(
            values,
            vectors,
            residuals=torch.linalg.vector_norm(remainder, dim=1),
            noise=torch.linalg.vector_norm(odd @ vectors, dim=1),
            asymmetry=2 * odd.abs().amax((1, 2)) / values.abs().amax(1).clamp(min=1e-300),
        )

    def combine(self, S: Tensor) -> Tensor:
        """Return the combinations ``S``, shape (R, m, k), of the basis vectors, (R, k, N)."""
        return S.mT.to(self.vectors) @ self.vectors[:, : self.multiplied]

    def compress(self, S: Tensor) -> None:
        """Thick restart: keep the combinations ``S``, (R, m, k), and the newest block."""
        m, size, k = self.multiplied, self.size, S.shape[-1]
        C = self.coefficients
        kept, coupling = S.mT @ C[:, :m, :m] @ S, C[:, m:size, :m] @ S
        left = S.mT.to(self.vectors)
        width = max(1, _COLUMNS_AT_ONCE // (len(S) * k))
        for columns in self.vectors.split(width, dim=2):
            columns[:, :k] = left @ columns[:, :m]
        self.vectors[:, k : k + size - m] = self.vectors[:, m:size].clone()
        self.multiplied, self.size = k, k + size - m
        C.zero_()
        C[:, :k, :k], C[:, k : self.size, :k] = kept, coupling

    def _make_room(self, size: int) -> None:
        """Let C hold ``size`` vectors: it grows by halves, for all rows would be rows^2."""
        if size > self.coefficients.shape[1]:
            more = min(max(size + size // 2, 32), self.rows) - self.coefficients.shape[1]
            self.coefficients = F.pad(self.coefficients, (0, more, 0, more))

    def _append(self, w: Tensor, column: int) -> None:
        """Add ``w``, (R, 1, N), after one pass against all but the vectors of its own block.

        Nothing but rounding is left of ``w`` where there is no room: the basis spans the space.
        """
        siblings = slice(self.multiplied, self.size)
        C = self.coefficients[:, :, column]
        if siblings.start < siblings.stop:
            C[:, siblings] = _remove(w, self.vectors[:, siblings])[..., 0]
        C[:, : self.size] += _remove(w, self.vectors[:, : self.size])[..., 0]
        norm = norms(w)[:, 0]
        if self.size == self.rows:
            return
        gone = norm <= 10 * torch.finfo(w.dtype).eps * self._scale
        C[:, self.size] = norm.masked_fill(gone, 0)
        if gone.any():
            w = torch.where(gone[:, None, None].to(w.device), self._random_direction(), w)
        self._push(w, norm.masked_fill(gone, 1))

    def _push(self, w: Tensor, norm: Tensor) -> None:
        torch.div(w[:, 0], norm[:, None].to(w), out=self.vectors[:, self.size])
        self.size += 1

    def _random_direction(self) -> Tensor:
        """A random unit vector per replica, (R, 1, N), orthogonal to the basis."""
        w = self._stream.normal_(torch.empty_like(self.vectors[0, 0]), step=self._draws)
        self._draws += 1
        w = w.expand_as(self.vectors[:, :1]).contiguous()
        for _ in range(2 if self.size else 0):
            _remove(w, self.vectors[:, : self.size])
        return w / norms(w)[..., None].to(w)


def _remove(W: Tensor, Q: Tensor) -> Tensor:
    """Subtract from ``W``, (R, k, N), its components along ``Q``, (R, m, N); return them (R, m, k).

    One pass reads Q twice: 4 m k N flops and 2 m N numbers, bound by memory where k = 1.
    """
    C = Q @ W.mT
    W.baddbmm_(C.mT, Q, alpha=-1)
    return C.double().cpu()
