"""Curvature operators: R symmetric matrices that are known through their products with vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.curvature.operators.parameters import FlatParameters
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = [
    "ComposedOperator",
    "CurvatureOperator",
    "ScaledOperator",
    "SumOperator",
    "per_replica",
    "require_symmetry",
]

_DENSE_BYTES = 2**33
_CHUNK_BYTES = 2**26
# Hessians of deep networks in float32 stay below 1e-3.
_ASYMMETRY = 1e-2


class CurvatureOperator(Checked, ABC):
    """R symmetric matrices H_r of size N x N, one for each replica, known through products.

    ``op @ V`` is H_r v for

    - V of shape (R, k, N): k vectors for each replica;
    - V of shape (R, N), where R > 1: one vector for each replica;
    - V of shape (k, N), where R = 1: k vectors.

    The result has the shape of V. Operators of one shape can be added, subtracted, and multiplied
    by a number or by one number per replica, (R,).

    A subclass gives `multiply`, and `lift` where its coordinates are not those of the
    configuration.

    Args:
        replicas: R.
        N: the size of the matrices.
        dtype: of vectors and products: float32 or float64.
        device: of vectors and products.

    Attributes:
        products: matrix-vector products per replica done so far.
        gradient_cost: about what one product costs, in gradients; None if unknown.
        at: the parameters that the operator was built at, if it was built from any.

    Raises:
        UsageError: the dtype is neither float32 nor float64; or vectors of another shape or dtype.
    """

    gradient_cost: float | None = None
    at: FlatParameters | None = None

    def __init__(
        self, replicas: int, N: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> None:
        require(
            dtype in (torch.float32, torch.float64),
            "dtype",
            dtype,
            "curvature needs float32 or float64",
            "measure a copy: copy.deepcopy(module).float()",
        )
        self.replicas, self.N, self.dtype, self.device = replicas, N, dtype, torch.device(device)
        self.products = 0

    @abstractmethod
    def multiply(self, V: Tensor) -> Tensor:
        """Return H_r V[r, j] for vectors V of the right shape (R, k, N), without graph."""

    def lift(self, V: Tensor) -> Tensor:
        """Return the vectors V (R, k, N) in the coordinates of the configuration."""
        return V

    def matmat(self, V: Tensor) -> Tensor:
        """Return H_r V[r, j], shape (R, k, N), and count the products."""
        admissible = f"must be (R, k, N) = ({self.replicas}, k, {self.N})"
        right = V.dim() == 3 and V.shape[::2] == (self.replicas, self.N)
        require(right, "V.shape", tuple(V.shape), admissible)
        require(V.dtype == self.dtype, "V.dtype", V.dtype, f"must be {self.dtype}")
        self.products += V.shape[1]
        # an ambient autocast would reach into the backward passes too
        with (
            torch.no_grad(),
            torch.inference_mode(False),
            torch.autocast(self.device.type, enabled=False),
        ):
            return self.multiply(V.detach())

    def __matmul__(self, V: Tensor) -> Tensor:
        if V.dim() == 3:
            return self.matmat(V)
        R, N = self.replicas, self.N
        rows = "k" if R == 1 else R
        remedy = f"k vectors for each replica have the shape ({R}, k, {N})"
        right = V.dim() == 2 and V.shape[1] == N and (R == 1 or len(V) == R)
        require(right, "V.shape", tuple(V.shape), f"must be ({rows}, {N})", remedy)
        return self.matmat(V[None])[0] if R == 1 else self.matmat(V[:, None])[:, 0]

    def dense(self) -> Tensor:
        """Return the matrices, shape (R, N, N), by N products each.

        Raises:
            UsageError: they would fill more than 8 GiB.
        """
        R, N, itemsize = self.replicas, self.N, self.dtype.itemsize
        fits = R * N * N * itemsize <= _DENSE_BYTES
        remedy = "use products (op @ V), or a subset of the parameters"
        require(fits, "N", N, f"{R} dense matrices of this size exceed 8 GiB", remedy)
        H = torch.empty(R, N, N, dtype=self.dtype, device=self.device)
        chunk = max(1, _CHUNK_BYTES // (R * N * itemsize))
        for first in range(0, N, chunk):
            columns = H[:, :, first : first + chunk]
            V = H.new_zeros(columns.shape[2], N)
            V[:, first : first + chunk].fill_diagonal_(1.0)
            columns.copy_(self.matmat(V.expand(R, -1, -1)).mT)
        return H

    def symmetry_defect(self, seed: int = 0) -> Tensor:
        """Return by how much the matrices fail to be symmetric, shape (R,), float64.

        |u.Hv - v.Hu| / sqrt(|Hu| |Hv|) for random signs u and v, at the cost of two products:
        rounding error for a Hessian, of order 1 for a matrix without symmetry. A dropout mask
        that changes between products, or parameters that do, show here.
        """
        shape = (self.replicas, 2, self.N)
        signs = Stream(seed, "symmetry").integers(2, shape, step=0).mul_(2).sub_(1)
        V = signs.to(self.device, self.dtype)
        W = self.matmat(V).double()
        u, v = V.double().unbind(1)
        Hu, Hv = W.unbind(1)
        size = (torch.linalg.vector_norm(W, dim=-1).prod(-1)).sqrt()
        defect = (torch.linalg.vecdot(u, Hv) - torch.linalg.vecdot(v, Hu)).abs()
        return torch.where(size > 0, defect / size, 0.0)

    def verify(self) -> None:
        """Raise a `UsageError` unless two random vectors find the matrices symmetric.

        Cost: two products.
        """
        require_symmetry(self.symmetry_defect().max().item())

    def __add__(self, other: CurvatureOperator) -> CurvatureOperator:
        return SumOperator(self, other)

    def __sub__(self, other: CurvatureOperator) -> CurvatureOperator:
        return SumOperator(self, -1.0 * other)

    def __mul__(self, factor: float | Tensor) -> CurvatureOperator:
        return ScaledOperator(self, factor)

    __rmul__ = __mul__


class ComposedOperator(CurvatureOperator):
    """An operator made of another one, A, and in its coordinates.

    Args:
        A: an operator.
        N: the size of the matrices, where it is not that of A.
    """

    def __init__(self, A: CurvatureOperator, N: int | None = None) -> None:
        super().__init__(A.replicas, A.N if N is None else N, A.dtype, A.device)
        self.A, self.gradient_cost = A, A.gradient_cost

    def lift(self, V: Tensor) -> Tensor:
        """Return V in the coordinates of the configuration."""
        return self.A.lift(V)

    def verify(self) -> None:
        """Raise a `UsageError` unless A is what it should be."""
        self.A.verify()


class SumOperator(ComposedOperator):
    """A + B, by one product with each.

    Args:
        A: an operator.
        B: another of the same shape, dtype and coordinates.
    """

    def __init__(self, A: CurvatureOperator, B: CurvatureOperator) -> None:
        shapes = [(op.replicas, op.N, op.dtype, op.device) for op in (A, B)]
        require(shapes[0] == shapes[1], "B", shapes[1], f"must be of the kind {shapes[0]}")
        super().__init__(A)
        self.B = B
        a, b = A.gradient_cost, B.gradient_cost
        self.gradient_cost = None if a is None or b is None else a + b

    def verify(self) -> None:
        """Raise a `UsageError` unless both are what they should be."""
        self.A.verify()
        self.B.verify()

    def multiply(self, V: Tensor) -> Tensor:
        """Return A V + B V."""
        return self.A.matmat(V) + self.B.matmat(V)


class ScaledOperator(ComposedOperator):
    """c A.

    Args:
        A: an operator.
        factor: c, a number or one per replica, shape (R,).
    """

    def __init__(self, A: CurvatureOperator, factor: float | Tensor) -> None:
        super().__init__(A)
        self.factor = per_replica(factor, A, "factor")

    def multiply(self, V: Tensor) -> Tensor:
        """Return c A V."""
        return self.factor * self.A.matmat(V)


def require_symmetry(asymmetry: float) -> None:
    """Raise a `UsageError` if the measured asymmetry of a matrix, relative to it, exceeds 0.01."""
    require(
        not asymmetry > _ASYMMETRY,
        "asymmetry",
        f"{asymmetry:.2g}",
        "the products are not those of one symmetric matrix, as a Hessian is: an operation has no "
        "correct double backward, or dropout draws a new mask for each",
        "use a plain form of the operation, or fix the masks",
    )


def per_replica(value: float | Tensor, op: CurvatureOperator, name: str) -> Tensor:
    """Return a number, or one per replica, in the shape (R, 1, 1) or (1, 1, 1) of the vectors."""
    values = torch.as_tensor(value, dtype=op.dtype, device=op.device).detach()
    right = values.shape in ((), (1,), (op.replicas,))
    require(right, f"{name}.shape", tuple(values.shape), f"must be () or ({op.replicas},)")
    return values.reshape(-1, 1, 1)
