"""Every eigenvalue, where the matrix is small enough to be written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.results import Spectrum

if TYPE_CHECKING:
    from lightning_landscape.curvature.operators.base import CurvatureOperator

__all__ = ["spectrum"]


@checked
def spectrum(operator: CurvatureOperator) -> Spectrum:
    """Return all N eigenvalues of each of R matrices.

    Args:
        operator: R symmetric matrices of size N; up to about 8000 on a CPU.

    Cost: N products per replica (none where the operator knows its matrix), R N^2 numbers of
    memory in float64 and the dense solve, 4 N^3 / 3 flops (20 s for N = 6000 on one core).

    Raises:
        UsageError: the matrices do not fit into memory.

    >>> from lightning_landscape.curvature import DenseOperator
    >>> spectrum(DenseOperator(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))).eigenvalues
    tensor([[-1.,  3.]], dtype=torch.float64)
    """
    before = operator.products
    H = operator.dense().double()
    spent = operator.products - before
    values, error = [], []
    for matrix in H:  # one at a time: a second copy of all of them may not fit
        transposed = matrix.mT
        error.append(torch.linalg.matrix_norm(matrix - transposed) / 2)
        values.append(torch.linalg.eigvalsh((matrix + transposed) / 2))
    eigenvalues = torch.stack(values).cpu()
    rounding = operator.N * torch.finfo(torch.float64).eps * eigenvalues.abs().amax(1)
    return Spectrum(eigenvalues, torch.stack(error).cpu() + rounding, spent)
