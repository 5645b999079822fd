"""Operators made of another one: shifted, projected, restricted, averaged over processes."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape import parallel
from lightning_landscape.curvature.operators.base import (
    ComposedOperator,
    CurvatureOperator,
    per_replica,
)
from lightning_landscape.errors import require

__all__ = [
    "MeanOverRanks",
    "ProjectedOperator",
    "RescaledOperator",
    "ShiftedOperator",
    "SubsetOperator",
]


class ShiftedOperator(ComposedOperator):
    """A + mu, where mu stands for a multiple of the identity.

    Args:
        A: an operator.
        shift: mu, a number or one per replica, shape (R,).

    >>> from lightning_landscape.curvature import DenseOperator
    >>> ShiftedOperator(DenseOperator(torch.eye(2)), 0.5) @ torch.ones(1, 2)
    tensor([[1.5000, 1.5000]])
    """

    def __init__(self, A: CurvatureOperator, shift: float | Tensor) -> None:
        super().__init__(A)
        self.shift = per_replica(shift, A, "shift")

    def multiply(self, V: Tensor) -> Tensor:
        """Return A V + mu V."""
        return torch.addcmul(self.A.matmat(V), self.shift, V)


class RescaledOperator(ComposedOperator):
    """D A D with a diagonal D: the curvature in other units of the coordinates.

    Args:
        A: an operator.
        scale: the diagonal, shape (R, N) or (1, N).

    Raises:
        UsageError: the shape of ``scale`` is another.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> RescaledOperator(DenseOperator(torch.eye(2)), torch.tensor([[1.0, 3.0]])).dense()
    tensor([[[1., 0.],
             [0., 9.]]])
    """

    def __init__(self, A: CurvatureOperator, scale: Tensor) -> None:
        right = scale.dim() == 2 and scale.shape[0] in (1, A.replicas) and scale.shape[1] == A.N
        required = f"must be (R, N) = ({A.replicas}, {A.N})"
        require(right, "scale.shape", tuple(scale.shape), required)
        super().__init__(A)
        self._scale = scale.detach().to(A.dtype).unsqueeze(1)

    def multiply(self, V: Tensor) -> Tensor:
        """Return D A D V."""
        return self._scale * self.A.matmat(self._scale * V)


class ProjectedOperator(ComposedOperator):
    """P A P, where P projects on what is orthogonal to some directions; they get eigenvalue 0.

    For the curvature on a sphere `TangentOperator` has no such extra zero.

    Args:
        A: an operator.
        directions: m vectors for each replica, shape (R, m, N), linearly independent.
    """

    def __init__(self, A: CurvatureOperator, directions: Tensor) -> None:
        right = directions.dim() == 3 and directions.shape[::2] == (A.replicas, A.N)
        admissible = f"must be (R, m, N) = ({A.replicas}, m, {A.N})"
        require(right, "directions.shape", tuple(directions.shape), admissible)
        super().__init__(A)
        self._basis = torch.linalg.qr(directions.detach().to(A.dtype).mT).Q  # (R, N, m)

    def project(self, V: Tensor) -> Tensor:
        """Return P V, shape (R, k, N)."""
        return torch.baddbmm(V, V @ self._basis, self._basis.mT, alpha=-1)

    def multiply(self, V: Tensor) -> Tensor:
        """Return P A P V."""
        return self.project(self.A.matmat(self.project(V)))


class SubsetOperator(ComposedOperator):
    """The rows and columns of A that a mask keeps: the curvature where all else is frozen.

    A product costs as much as with A. For a layer, the operator of its parameters alone is the
    same matrix and cheaper, see `select`.

    Args:
        A: an operator.
        mask: which coordinates to keep, boolean, shape (N,); the same for all replicas.

    Raises:
        UsageError: the mask is not boolean of shape (N,), or keeps nothing.
    """

    def __init__(self, A: CurvatureOperator, mask: Tensor) -> None:
        right = mask.dtype == torch.bool and mask.shape == (A.N,)
        got = f"{mask.dtype} of shape {tuple(mask.shape)}"
        require(right, "mask", got, f"must be boolean, of shape ({A.N},)")
        self._kept = mask.to(A.device).nonzero().flatten()
        require(len(self._kept) > 0, "mask", "all False", "must keep a coordinate")
        super().__init__(A, len(self._kept))

    def _embed(self, V: Tensor) -> Tensor:
        return V.new_zeros(*V.shape[:2], self.A.N).index_copy_(2, self._kept, V)

    def multiply(self, V: Tensor) -> Tensor:
        """Return the kept components of A V."""
        return self.A.matmat(self._embed(V)).index_select(2, self._kept)

    def lift(self, V: Tensor) -> Tensor:
        """Return V in the coordinates of the configuration, zero where it is frozen."""
        return self.A.lift(self._embed(V))


class MeanOverRanks(ComposedOperator):
    """The mean of the operators of all processes, weighted by their numbers of samples.

    Every process must multiply the same vectors in the same order, as solvers with one seed do.
    A product sends the vectors (R, k, N) through one reduction. With one process it is A. A process
    whose product fails sends nan, so that all of them raise and none waits.

    Args:
        A: the operator of this process; those of the others have the same shape.
        samples: the number of samples behind it.

    Raises:
        UsageError: a product is not finite, or has failed, in one of the processes.
    """

    def __init__(self, A: CurvatureOperator, samples: int = 1) -> None:
        super().__init__(A)
        own = torch.tensor(float(samples), dtype=torch.float64, device=A.device)
        self._share = samples / parallel.sum(own).item()

    def verify(self) -> None:
        """Raise a `UsageError` in every process unless A is what it should be in all of them."""
        failure: Exception | None = None
        try:
            self.A.verify()
        except Exception as error:
            failure = error
        failed = parallel.max(torch.tensor(float(failure is not None), device=self.device))
        if failure is not None:
            raise failure
        require(not failed, "operator", "another process", "is not what it should be there")

    def multiply(self, V: Tensor) -> Tensor:
        """Return the mean of A V over the processes."""
        failure: Exception | None = None
        try:
            own = self.A.matmat(V).mul(self._share)
        except Exception as error:
            own, failure = torch.full_like(V, torch.nan), error
        total = parallel.sum(own)
        if failure is not None:
            raise failure
        finite = bool(total.isfinite().all())
        require(finite, "product", "nan", "is not finite in one of the processes")
        return total
