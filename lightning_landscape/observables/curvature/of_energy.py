"""The curvature of an `Energy`, by the best way that it offers."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.energies._glass import Glass
from lightning_landscape.energies.energy import Energy
from lightning_landscape.observables.curvature.evaluation import evaluate, twice_differentiable
from lightning_landscape.observables.curvature.kept_graph import HessianOperator
from lightning_landscape.observables.curvature.matrices import DenseOperator
from lightning_landscape.observables.curvature.operator import CurvatureOperator
from lightning_landscape.observables.curvature.tangent import TangentOperator

__all__ = ["hessian_of"]

_DENSE_BYTES = 2**30
# a glass reads its couplings once for so many vectors
_VECTORS_OF_A_GLASS = 16


def hessian_of(energy: Energy) -> CurvatureOperator:
    """Return the Hessian of an energy at its configurations; on its sphere, where it has one.

    The matrices are taken from ``energy.hessian()`` where there is one and they fit into 1 GiB:
    for a p-spin glass all of them cost about half a gradient. Otherwise products are backward
    passes, `HessianOperator`. On the sphere |x|^2 = N the operator acts in the tangent space, on
    N - 1 coordinates, `TangentOperator`.

    Args:
        energy: the energy, taken over all its data.

    >>> from lightning_landscape.energies.quadratic import Quadratic
    >>> hessian_of(Quadratic(spectrum=[1.0, 3.0])) @ torch.ones(1, 2)
    tensor([[1., 3.]])
    """
    chunk = _VECTORS_OF_A_GLASS if isinstance(energy, Glass) else 1
    A = _known(energy) or HessianOperator(energy, energy.parameters(), chunk)
    if energy.constraint is None:
        return A
    gradient = A.gradient if isinstance(A, HessianOperator) else _gradient(energy)
    return TangentOperator(A, energy.configuration(), gradient)


def _known(energy: Energy) -> DenseOperator | None:
    itemsize = next(energy.parameters()).dtype.itemsize
    if energy.replicas * energy.N**2 * itemsize > _DENSE_BYTES:
        return None
    hessian = getattr(energy, "hessian", None)
    return None if hessian is None else DenseOperator(hessian())


def _gradient(energy: Energy) -> Tensor:
    parameters = list(energy.parameters())
    with twice_differentiable(parameters[0].device):
        gradient = torch.autograd.grad(evaluate(energy).sum(), parameters)
    return torch.cat([g.flatten(1) for g in gradient], dim=1)
