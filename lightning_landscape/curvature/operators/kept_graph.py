"""The Hessian of any energy, by a second backward pass through a gradient graph that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.evaluation import evaluate, twice_differentiable
from lightning_landscape.curvature.operators.parameters import FlatParameters
from lightning_landscape.curvature.operators.verification import (
    plain_errors,
    require_complete_gradient,
    require_measured_hessian,
)

__all__ = ["HessianOperator", "second_backward"]


class HessianOperator(CurvatureOperator):
    r"""The Hessian of an energy at the present parameters, one for each replica.

    `H_r v = \nabla_{x_r} (v \cdot \nabla_{x_r} E_r)`

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
        names: of the parameters, for the errors; None takes their shapes.

    Attributes:
        energies: the energies, shape (R,).
        gradient: their gradients, shape (R, N).

    Raises:
        UsageError: the energy has no graph, its shape does not go with the parameters, it hides
            parameters in a reentrant checkpoint, it cannot be differentiated twice, or a product
            is asked for after the parameters have changed.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> H = HessianOperator(lambda: x[0] ** 2 * x[1], [x])
    >>> H @ torch.tensor([[1.0, 0.0]])
    tensor([[4., 2.]])
    """

    gradient_cost = 1.5
    at: FlatParameters

    def __init__(
        self,
        energy: Callable[[], Tensor],
        parameters: Iterable[Tensor],
        chunk: int = 1,
        names: Sequence[str] | None = None,
    ) -> None:
        tensors = list(parameters)
        self._energy = energy
        self._names = names or [f"{tuple(p.shape)}" for p in tensors]
        device = tensors[0].device if tensors else torch.device("cpu")
        with twice_differentiable(device):
            energies = evaluate(energy)
            self.at = FlatParameters(tensors, len(energies))
            total = energies.sum()
            with plain_errors():
                found = torch.autograd.grad(total, tensors, create_graph=True, allow_unused=True)
            require_complete_gradient(energy, total, tensors, found, self._names)
        gradient = [
            torch.zeros_like(p) if g is None else g.to_dense()  # an embedding may have it sparse
            for p, g in zip(tensors, found, strict=True)
        ]
        super().__init__(len(energies), self.at.N, self.at.dtype, self.at.device)
        self.chunk, self._gradient = chunk, gradient
        self.energies = energies.detach()
        flat = self.energies.new_empty(self.replicas, 1, self.N)
        self.gradient = self.at.join_(flat, [g.detach()[None] for g in gradient])[:, 0]

    def multiply(self, V: Tensor) -> Tensor:
        """Return H_r V[r, j], by one backward pass for each chunk of vectors."""
        with plain_errors():
            product = partial(second_backward, self._gradient, self.at.tensors)
            return self.at.map(product, V, self.chunk)

    def verify(self) -> None:
        """Compare a product with the measured change of the gradient, and see to the symmetry.

        Cost: a gradient and two products; where the graph holds functions that are not PyTorch's
        own, seven gradients and a product more.

        Raises:
            UsageError: the products are not those of the Hessian of this energy, for example
                because the derivative of an operation has no derivative itself.
        """

        def product(v: list[Tensor]) -> list[Tensor]:
            with plain_errors():
                return [
                    d[0] for d in second_backward(self._gradient, tensors, [t[None] for t in v])
                ]

        tensors = self.at.tensors
        require_measured_hessian(self._energy, tensors, product, self._names)
        super().verify()


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
        found = torch.autograd.grad(outputs, inputs, v, retain_graph=True, materialize_grads=True)
        return tuple(d.to_dense() if d.is_sparse else d for d in found)

    if len(V[0]) == 1:
        return [d[None] for d in product(*(v[0] for v in vectors))]
    return list(torch.func.vmap(product)(*vectors))
