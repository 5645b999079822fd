"""The Hessian of a network whose products its architecture has written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.parameters import FlatParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["WrittenOutHessian"]


class WrittenOutHessian(CurvatureOperator):
    """The Hessian by a product that an energy offers, such as `NetworkEnergy.hessian_product`.

    The same numbers as `HessianOperator`, without a graph.

    Cost: of fully connected networks about one gradient, and 1.35 gradients a product, 1.2 in a
    block, on 784-256-256-10 at 1000 samples; up to 2 where layers are narrow.

    Args:
        product: from j directions, (R, j, …) in the shape of each parameter, to the products.
        parameters: what it differentiates by, with the replica axis first.
        replicas: R.
        chunk: vectors in one call.

    Raises:
        UsageError: a product is asked for after the parameters have changed.
    """

    gradient_cost = 1.5
    at: FlatParameters

    def __init__(
        self,
        product: Callable[[Sequence[Tensor]], Sequence[Tensor]],
        parameters: Iterable[Tensor],
        replicas: int,
        chunk: int = 1,
    ) -> None:
        self.at = FlatParameters(parameters, replicas)
        super().__init__(replicas, self.at.N, self.at.dtype, self.at.device)
        self._product, self.chunk = product, chunk

    def multiply(self, V: Tensor) -> Tensor:
        """Return H_r V[r, j], for each chunk of vectors at once."""

        def product(v: list[Tensor]) -> list[Tensor]:
            return [t.transpose(0, 1) for t in self._product([t.transpose(0, 1) for t in v])]

        return self.at.map(product, V, self.chunk)
