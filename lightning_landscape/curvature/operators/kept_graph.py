"""The Hessian of any energy, by a second backward pass through a gradient graph that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.evaluation import evaluate, twice_differentiable
from lightning_landscape.curvature.operators.parameters import FlatParameters

__all__ = ["HessianOperator", "second_backward"]


class HessianOperator(CurvatureOperator):
    r"""The Hessian of an energy at the present parameters, one for each replica.

    :math:`H_r v = \nabla_{x_r} (v \cdot \nabla_{x_r} E_r)`

    The energy is evaluated and differentiated once, here; each product is one backward pass
    through the graph of the gradient, which lives as long as the operator. Since E_r depends on
    replica r only, one pass through the gradient of sum_r E_r serves all replicas.

    ``.grad`` and the random state are left alone. A module with dropout may stay in training mode:
    its masks are those of the one evaluation. One with batch norm too, but that updates its running
    averages in every evaluation; build and multiply inside `callbacks.measuring`, which restores
    them.

    Cost: one gradient, and 1.3 to 2 gradients a product. Memory: two to three times the
    activations that a gradient needs, while the operator lives.

    Args:
        energy: returns the energies of the present parameters, a scalar or (R,).
        parameters: what to differentiate by; where R > 1, with the replica axis first.
        chunk: products in one batched backward pass. More than 1 pays for glasses and for
            networks whose product takes less than a millisecond, and costs memory.

    Attributes:
        energies: the energies, shape (R,).
        gradient: their gradients, shape (R, N).

    Raises:
        UsageError: the energy has no graph, its shape does not go with the parameters, or a
            product is asked for after the parameters have changed.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> H = HessianOperator(lambda: x[0] ** 2 * x[1], [x])
    >>> H @ torch.tensor([[1.0, 0.0]])
    tensor([[4., 2.]])
    """

    gradient_cost = 1.5
    at: FlatParameters

    def __init__(
        self, energy: Callable[[], Tensor], parameters: Iterable[Tensor], chunk: int = 1
    ) -> None:
        tensors = list(parameters)
        device = tensors[0].device if tensors else torch.device("cpu")
        with twice_differentiable(device):
            energies = evaluate(energy)
            self.at = FlatParameters(tensors, len(energies))
            gradient = torch.autograd.grad(
                energies.sum(), tensors, create_graph=True, materialize_grads=True
            )
        super().__init__(len(energies), self.at.N, self.at.dtype, self.at.device)
        self.chunk, self._gradient = chunk, gradient
        self.energies = energies.detach()
        flat = self.energies.new_empty(self.replicas, 1, self.N)
        self.gradient = self.at.join_(flat, [g.detach()[None] for g in gradient])[:, 0]

    def multiply(self, V: Tensor) -> Tensor:
        """Return H_r V[r, j], by one backward pass for each chunk of vectors."""
        return self.at.map(partial(second_backward, self._gradient, self.at.tensors), V, self.chunk)


def second_backward(
    gradient: Sequence[Tensor], inputs: Sequence[Tensor], V: Sequence[Tensor]
) -> list[Tensor]:
    """Return the derivatives of sum_i gradient_i . V_i[j] in the inputs, j first, or zeros.

    A gradient without graph belongs to a parameter that the energy does not use, or uses linearly.
    """
    used = [(g, v) for g, v in zip(gradient, V, strict=True) if g.requires_grad]
    if not used:
        return [p.new_zeros(len(V[0]), *p.shape) for p in inputs]
    outputs, vectors = zip(*used, strict=True)

    def product(*v: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(outputs, inputs, v, retain_graph=True, materialize_grads=True)

    if len(V[0]) == 1:
        return [d[None] for d in product(*(v[0] for v in vectors))]
    return list(torch.func.vmap(product)(*vectors))
