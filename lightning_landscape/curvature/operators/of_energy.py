"""The curvature of an `Energy`, by the best way that it offers."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.evaluation import evaluate, twice_differentiable
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.curvature.operators.matrices import DenseOperator
from lightning_landscape.curvature.operators.streaming import StreamingOperator
from lightning_landscape.curvature.operators.tangent import TangentOperator
from lightning_landscape.curvature.operators.written_out import WrittenOutHessian
from lightning_landscape.energies.energy import Energy, HasHessian
from lightning_landscape.energies.glasses.glass import Glass
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.networks.slices import even_slices
from lightning_landscape.replicas import flatten

__all__ = ["hessian_of", "product_cost"]

_DENSE_BYTES = 2**30
_GRAPH_BYTES = 2**30
# what is kept of a sample, with room for products, in units of its activations
_COPIES = 7
# a glass reads its couplings once for so many vectors
_VECTORS_OF_A_GLASS = 16


@checked
def hessian_of(energy: Energy) -> CurvatureOperator:
    """Return the Hessian of an energy at its configurations; on its sphere, where it has one.

    The matrices are taken from ``energy.hessian()`` where there is one and they fit into 1 GiB:
    for a p-spin glass all of them cost about half a gradient. Otherwise products are written out,
    for fully connected networks, or backward passes, `HessianOperator`. What would keep more than
    1 GiB of a network is not kept: the data go through in batches, each with its own graph that
    all vectors of a product share, `StreamingOperator`; the matrix is the same. On the sphere
    |x|^2 = N the operator acts in the tangent space, on N - 1 coordinates, `TangentOperator`.

    Args:
        energy: the energy, taken over all its data.

    >>> from lightning_landscape.energies.quadratic import Quadratic
    >>> hessian_of(Quadratic(spectrum=[1.0, 3.0])) @ torch.ones(1, 2)
    tensor([[1., 3.]])
    """
    A = _known(energy) or _by_products(energy)
    if energy.constraint is None:
        return A
    gradient = A.gradient if isinstance(A, HessianOperator) else _gradient(energy)
    return TangentOperator(A, energy.configuration(), gradient)


def _known(energy: Energy) -> DenseOperator | None:
    itemsize = next(energy.parameters()).dtype.itemsize
    if energy.replicas * energy.N**2 * itemsize > _DENSE_BYTES:
        return None
    return DenseOperator(energy.hessian()) if isinstance(energy, HasHessian) else None


def product_cost(energy: Energy | None) -> float:
    """Return about what a product with `hessian_of` costs where no matrix is known, in gradients.

    Args:
        energy: the energy; None for any other module.
    """
    streamed = isinstance(energy, NetworkEnergy) and _samples_at_once(energy) < energy.samples
    kind = StreamingOperator if streamed else HessianOperator
    return kind.gradient_cost


def _by_products(energy: Energy) -> CurvatureOperator:
    if isinstance(energy, NetworkEnergy) and _samples_at_once(energy) < energy.samples:
        rows = torch.arange(energy.samples, device=energy.inputs.device)
        # what is normalised together stays together, or the matrix would be another
        size = energy.architecture.samples_together or _samples_at_once(energy)
        return StreamingOperator(
            lambda batch: _of_network(energy, batch),
            [rows[part] for part in even_slices(energy.samples, size)],
        )
    if isinstance(energy, NetworkEnergy):
        return _of_network(energy)
    chunk = _VECTORS_OF_A_GLASS if isinstance(energy, Glass) else 1
    return HessianOperator(energy, energy.parameters(), chunk)


def _of_network(energy: NetworkEnergy, batch: Tensor | None = None) -> CurvatureOperator:
    parameters, product = list(energy.parameters()), energy.hessian_product(batch)
    if product is None:
        return HessianOperator(lambda: energy(batch), parameters)
    return WrittenOutHessian(product, parameters, energy.replicas, product.together)


def _samples_at_once(energy: NetworkEnergy) -> int:
    """How many samples the graph of all replicas may hold."""
    shape = energy.inputs.shape[1:]
    values = energy.replicas * energy.architecture.values_per_sample(shape) + shape.numel()
    return max(1, _GRAPH_BYTES // (_COPIES * values * energy.inputs.element_size()))


def _gradient(energy: Energy) -> Tensor:
    parameters = list(energy.parameters())
    with twice_differentiable(parameters[0].device):
        gradient = torch.autograd.grad(evaluate(energy).sum(), parameters)
    return flatten(gradient)
