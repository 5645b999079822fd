"""The leading eigenvalues of the diagonal blocks of a Hessian, for example of its layers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.composed import SubsetOperator
from lightning_landscape.curvature.operators.matrices import DenseOperator
from lightning_landscape.curvature.results import Eigenpairs
from lightning_landscape.curvature.row import leading

__all__ = ["highest_of_parts"]

_OF_PAIRS = {
    "part_highest": "eigenvalues",
    "part_highest_residual": "residuals",
    "part_highest_converged": "converged",
}


@checked
def highest_of_parts(
    operator: CurvatureOperator,
    parts: Mapping[str, slice],
    k: int = 1,
    *,
    max_products: int = 300,
    seed: int = 0,
) -> dict[str, Tensor]:
    r"""Return the ``k`` highest eigenvalues of the diagonal block of each part.

    `H_{ab}` with a and b in one part: the curvature where all else is frozen. By Cauchy's
    interlacing theorem none is above that of the whole matrix.

    Cost: none where the matrices are known; otherwise, for each part, at most its size or
    ``max_products``, whichever is less, in products with the whole operator.

    Args:
        operator: R symmetric matrices of size N.
        parts: named ranges of coordinates, see `blocks`.
        k: how many; nan where a part is smaller.
        max_products: budget of each part, at least k.
        seed: of the start vectors.

    Returns:
        ``part_highest``, descending, (R, parts, k), float64, with ``part_highest_residual`` and
        ``part_highest_converged``, see `lanczos`.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> H = DenseOperator(torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 5.0], [0.0, 5.0, 7.0]]))
    >>> highest_of_parts(H, {"a": slice(0, 2), "b": slice(2, 3)})["part_highest"].flatten()
    tensor([3.0000, 7.0000], dtype=torch.float64)
    """
    found = [_highest(operator, part, k, max_products, seed) for part in parts.values()]
    return {
        name: torch.stack([leading(getattr(pairs, attribute), k) for pairs in found], 1)
        for name, attribute in _OF_PAIRS.items()
    }


def _highest(
    operator: CurvatureOperator, part: slice, k: int, max_products: int, seed: int
) -> Eigenpairs:
    block: CurvatureOperator
    if isinstance(operator, DenseOperator):
        block = DenseOperator(operator.dense()[:, part, part])
    else:
        mask = torch.zeros(operator.N, dtype=torch.bool)
        mask[part] = True
        block = SubsetOperator(operator, mask)
    return lanczos(
        block,
        min(k, block.N),
        "highest",
        block=min(2, block.N),  # see `lanczos` on eigenvalues that one vector misses
        max_products=max_products,
        seed=seed,
    )
