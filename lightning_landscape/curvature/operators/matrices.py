"""Matrices that are known already: dense ones, and those of SciPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from numpy import ndarray
    from scipy.sparse.linalg import LinearOperator

__all__ = ["DenseOperator", "ScipyOperator", "as_scipy"]


class DenseOperator(CurvatureOperator):
    """Matrices in memory, for example those of ``energy.hessian()``; a product costs N^2.

    Args:
        matrices: symmetric, shape (R, N, N), or (N, N) for R = 1.

    Raises:
        UsageError: the matrices are not square, or not finite.

    >>> DenseOperator(torch.tensor([[2.0, 1.0], [1.0, 0.0]])) @ torch.tensor([[1.0, 1.0]])
    tensor([[3., 1.]])
    """

    gradient_cost = 0.0

    def __init__(self, matrices: Tensor) -> None:
        square = matrices.dim() in (2, 3) and matrices.shape[-1] == matrices.shape[-2]
        admissible = "must be (R, N, N), or (N, N)"
        require(square, "matrices.shape", tuple(matrices.shape), admissible)
        finite = bool(matrices.detach().isfinite().all())
        require(finite, "matrices", "nan or inf", "must be finite")
        self.matrices = matrices.detach().reshape(-1, *matrices.shape[-2:])
        R, N = self.matrices.shape[:2]
        super().__init__(R, N, matrices.dtype, matrices.device)

    def multiply(self, V: Tensor) -> Tensor:
        """Return H_r V[r, j]."""
        return V @ self.matrices.mT

    def dense(self) -> Tensor:
        """Return the matrices, shape (R, N, N), at no cost."""
        return self.matrices


class ScipyOperator(CurvatureOperator):
    """Anything that SciPy can multiply, as one replica: a `LinearOperator`, a sparse matrix.

    Args:
        linear: symmetric, shape (N, N), real.

    >>> import scipy.sparse
    >>> ScipyOperator(scipy.sparse.diags([1.0, 2.0])) @ torch.ones(1, 2, dtype=torch.float64)
    tensor([[1., 2.]], dtype=torch.float64)
    """

    def __init__(self, linear: Any) -> None:
        import numpy as np
        from scipy.sparse.linalg import aslinearoperator

        try:
            self.linear = aslinearoperator(linear)
        except (TypeError, AttributeError):
            required = "must be a matrix, or a LinearOperator of SciPy"
            require(False, "linear", type(linear).__name__, required)
        shape = self.linear.shape
        require(shape[0] == shape[1], "linear.shape", shape, "must be (N, N)")
        dtype = np.dtype(self.linear.dtype or np.float64)
        numbers = {"float32": torch.float32, "float64": torch.float64}
        require(dtype.name in numbers, "linear.dtype", dtype.name, "must be float32 or float64")
        super().__init__(1, shape[0], numbers[dtype.name])

    def multiply(self, V: Tensor) -> Tensor:
        """Return H V[0, j]."""
        return torch.as_tensor(self.linear.matmat(V[0].T.numpy()).T, dtype=self.dtype)[None]


@checked
def as_scipy(operator: CurvatureOperator, replica: int = 0) -> LinearOperator:
    """Return one replica of an operator for `scipy.sparse.linalg`: `eigsh`, `cg`, `minres`, ….

    Args:
        operator: any operator; a product is done for all R replicas and one of them is used.
        replica: which.

    >>> from scipy.sparse.linalg import eigsh
    >>> H = DenseOperator(torch.diag(torch.arange(9.0, dtype=torch.float64)))
    >>> eigsh(as_scipy(H), k=1, return_eigenvectors=False).round(6)
    array([8.])
    """
    from scipy.sparse.linalg import LinearOperator

    R, N = operator.replicas, operator.N
    require(-R <= replica < R, "replica", replica, f"there are {R}")
    number = torch.empty(0, dtype=operator.dtype).numpy().dtype

    def matmat(V: ndarray) -> ndarray:
        block = torch.zeros(R, V.shape[1], N, dtype=operator.dtype, device=operator.device)
        block[replica] = torch.as_tensor(V.T)
        return operator.matmat(block)[replica].T.cpu().numpy()

    def matvec(v: ndarray) -> ndarray:
        return matmat(v.reshape(-1, 1)).reshape(v.shape)

    return LinearOperator((N, N), matvec, matvec, matmat, dtype=number)
