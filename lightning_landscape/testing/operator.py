"""OperatorContract: what every curvature operator must satisfy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from lightning_landscape.callbacks.measuring import measuring
from lightning_landscape.curvature import CurvatureOperator
from lightning_landscape.errors import UsageError
from lightning_landscape.rng import Stream

__all__ = ["OperatorCase", "OperatorContract"]


class OperatorCase(NamedTuple):
    """An operator under test and its reference matrix.

    Attributes:
        build: makes the operator.
        dense: the matrices, computed independently, shape (R, N, N), float64.
        module: the module that ``build`` evaluates, if there is one.
    """

    build: Callable[[], CurvatureOperator]
    dense: Tensor
    module: nn.Module | None = None

    @contextmanager
    def operator(self) -> Iterator[CurvatureOperator]:
        """Yield the operator in the same context in which a probe builds and uses it."""
        with measuring(self.module) if self.module else nullcontext():
            yield self.build()


def _relative(error: Tensor, size: Tensor) -> float:
    return (torch.linalg.vector_norm(error) / torch.linalg.vector_norm(size)).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
class OperatorContract:
    """Subclass this in a test file and define `case`; pytest does the rest.

    Attributes:
        tolerance: relative error in the Frobenius norm, for each dtype.
    """

    tolerance: ClassVar[dict[torch.dtype, float]] = {torch.float32: 1e-5, torch.float64: 1e-12}

    def case(self, dtype: torch.dtype) -> OperatorCase:
        """Return the operator in this dtype, the same at each call."""
        raise NotImplementedError

    @pytest.fixture
    def op(self, dtype: torch.dtype) -> Iterator[CurvatureOperator]:
        """The operator, inside `measuring`."""
        with self.case(dtype).operator() as operator:
            yield operator

    def _vectors(self, op: CurvatureOperator, k: int, step: int = 0) -> Tensor:
        V = torch.empty(op.replicas, k, op.N, dtype=op.dtype)
        return Stream(0, "contract").normal_(V, step).to(op.device)

    def _close(self, a: Tensor, b: Tensor, dtype: torch.dtype) -> bool:
        return _relative(a.double() - b.double(), b.double()) < self.tolerance[dtype]

    def test_is_the_dense_matrix(self, dtype: torch.dtype, op: CurvatureOperator) -> None:
        """`dense` and products with random vectors agree with the float64 reference."""
        dense = self.case(dtype).dense
        assert (op.replicas, op.N, op.N) == dense.shape
        assert op.dtype == dtype
        assert self._close(op.dense(), dense, dtype)
        V = self._vectors(op, 3)
        assert self._close(op @ V, V.double() @ dense.mT, dtype)

    def test_is_symmetric(self, dtype: torch.dtype, op: CurvatureOperator) -> None:
        """u.Hv = v.Hu to rounding, also if random numbers are drawn in between."""
        u, v = self._vectors(op, 2).unbind(1)
        Hu = (op @ u[:, None])[:, 0]
        torch.rand(7)
        Hv = (op @ v[:, None])[:, 0]
        defect = (u * Hv).sum(-1) - (v * Hu).sum(-1)
        size = torch.linalg.vector_norm(u, dim=-1) * torch.linalg.vector_norm(Hv, dim=-1)
        assert (defect.abs() <= self.tolerance[dtype] * size).all()
        assert (op.symmetry_defect() < self.tolerance[dtype] * op.N**0.5).all()

    def test_is_linear(self, dtype: torch.dtype, op: CurvatureOperator) -> None:
        """H (2 u - 3 v) = 2 H u - 3 H v."""
        u, v = self._vectors(op, 2), self._vectors(op, 2, step=1)
        assert self._close(op @ (2 * u - 3 * v), 2 * (op @ u) - 3 * (op @ v), dtype)

    def test_a_block_equals_a_loop(self, dtype: torch.dtype, op: CurvatureOperator) -> None:
        """A block of k vectors gives k products, in any of the shapes that `@` accepts."""
        V = self._vectors(op, 5)
        block = op @ V
        assert op.products == 5
        loop = torch.stack([op.matmat(v[:, None])[:, 0] for v in V.unbind(1)], dim=1)
        assert op.products == 10
        assert self._close(block, loop, dtype)
        flat = (op @ V[0])[None] if op.replicas == 1 else (op @ V[:, 0])[:, None]
        assert self._close(flat, block[:, : flat.shape[1]], dtype)
        assert not block.requires_grad

    def test_replicas_are_independent(self, dtype: torch.dtype, op: CurvatureOperator) -> None:
        """The product of one replica depends only on its own vectors."""
        V = self._vectors(op, 2)
        whole = op @ V
        for r in range(min(op.replicas, 3)):
            alone = torch.zeros_like(V)
            alone[r] = V[r]
            product = op @ alone
            assert self._close(product[r], whole[r], dtype)
            product[r] = 0
            assert not product.any()

    def test_has_no_side_effects(self, dtype: torch.dtype) -> None:
        """Gradients, parameters, buffers, modes and random state are unchanged."""
        case = self.case(dtype)
        module = case.module or nn.Module()
        for p in module.parameters():
            p.grad = torch.full_like(p, 3.0)
        before = _state(module)
        with case.operator() as op:
            op @ self._vectors(op, 2)
        after = _state(module)
        assert before.keys() == after.keys()
        for name, value in before.items():
            assert torch.equal(value, after[name]), name

    def test_refuses_vectors_of_the_wrong_shape_or_dtype(
        self, dtype: torch.dtype, op: CurvatureOperator
    ) -> None:
        """One sentence states the required shape or dtype, and no product is counted."""
        R, N = op.replicas, op.N
        other = torch.float32 if dtype == torch.float64 else torch.float64
        wrong = [(R, 2, N + 1), (R + 1, 2, N), (N,), (1 if R == 1 else R + 1, N + (R == 1))]
        for V in [
            *(torch.zeros(shape, dtype=dtype) for shape in wrong),
            torch.zeros(R, 1, N).to(other),
        ]:
            with pytest.raises(UsageError, match="V"):
                op @ V
        assert op.products == 0


def _state(module: nn.Module) -> dict[str, Any]:
    state = {
        f"grad of {n}": p.grad.clone() for n, p in module.named_parameters() if p.grad is not None
    }
    state |= {n: t.detach().clone() for n, t in module.state_dict().items()}
    state |= {f"mode of {n}": torch.tensor(m.training) for n, m in module.named_modules()}
    return state | {"random state": torch.get_rng_state()}
