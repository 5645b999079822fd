"""The Hessian of a loss of outputs in two parts: Gauss-Newton, and what curves the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.evaluation import evaluate, twice_differentiable
from lightning_landscape.curvature.operators.kept_graph import HessianOperator, second_backward
from lightning_landscape.curvature.operators.parameters import FlatParameters
from lightning_landscape.errors import require

__all__ = ["GaussNewtonOperator", "empirical_fisher", "split_hessian"]


class GaussNewtonOperator(CurvatureOperator):
    r"""The generalized Gauss-Newton matrix of an energy that is a loss of outputs.

    `G = J^T \, \nabla_f^2 \ell \, J`, with `E(x) = \ell(f(x))` and
    `J = \partial f / \partial x`; positive semi-definite where the loss is convex.

    For the cross-entropy of logits, the squared loss, or any negative log-likelihood whose outputs
    are natural parameters, G is the Fisher information of the model's own predictions. For the
    quadratic hinge of the gaps Delta it is H0, see `split_hessian`.

    Cost: one gradient; a product costs about as much as one with the Hessian. Jv is the derivative
    in u of v . J^T u, so nothing but reverse mode is needed.

    Args:
        outputs: returns f at the present parameters, any shape; (R, …) where R > 1.
        loss: maps outputs to the energies, a scalar or (R,). Weights of single samples belong here.
        parameters: what to differentiate by; where R > 1, with the replica axis first.

    Raises:
        UsageError: the outputs have no graph, or the shapes do not go together.

    Source: Schraudolph 2002, Neural Comput. 14, 1723; Martens 2014, arXiv:1412.1193.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> G = GaussNewtonOperator(lambda: x[0] * x[1:], lambda f: (f**2).sum() / 2, [x])
    >>> G @ torch.tensor([[1.0, 0.0]])
    tensor([[4., 2.]])
    """

    gradient_cost = 1.5
    at: FlatParameters

    def __init__(
        self,
        outputs: Callable[[], Tensor],
        loss: Callable[[Tensor], Tensor],
        parameters: Iterable[Tensor],
    ) -> None:
        tensors = list(parameters)
        device = tensors[0].device if tensors else torch.device("cpu")
        with twice_differentiable(device):
            f = outputs()
            require(f.requires_grad, "outputs()", tuple(f.shape), "depends on no parameter")
            self._leaf = f.detach().requires_grad_()
            energies = evaluate(lambda: loss(self._leaf))
            self.at = FlatParameters(tensors, len(energies))
            self._slope = torch.autograd.grad(energies.sum(), self._leaf, create_graph=True)
            self._u = torch.zeros_like(f, requires_grad=True)
            self._pullback = torch.autograd.grad(
                f, tensors, self._u, create_graph=True, materialize_grads=True
            )
        self._f = f
        super().__init__(len(energies), self.at.N, self.at.dtype, self.at.device)

    def multiply(self, V: Tensor) -> Tensor:
        """Return J^T (d^2 loss) J V[r, j], vector by vector."""
        return self.at.map(self._product, V)

    def _product(self, v: list[Tensor]) -> list[Tensor]:
        Jv = second_backward(self._pullback, [self._u], v)
        w = second_backward(self._slope, [self._leaf], Jv)
        return second_backward([self._f], self.at.tensors, w)


@checked
def empirical_fisher(
    losses: Callable[[], Tensor], parameters: Iterable[Tensor]
) -> GaussNewtonOperator:
    """Return the operator F = (1/P) sum_m g_m g_m^T of the gradients g_m of P single losses.

    It is the second moment of the gradients of single samples with the labels of the data. The
    Fisher information, with labels drawn from the model, is `GaussNewtonOperator`.

    Args:
        losses: returns the loss of each sample, shape (P,), or (R, P).
        parameters: what to differentiate by; where R > 1, with the replica axis first.

    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> F = empirical_fisher(lambda: x * torch.tensor([1.0, 3.0]), [x])
    >>> F @ torch.ones(1, 1)
    tensor([[5.]])
    """
    return GaussNewtonOperator(losses, lambda losses: losses.square().mean(-1) / 2, parameters)


@checked
def split_hessian(
    outputs: Callable[[], Tensor],
    loss: Callable[[Tensor], Tensor],
    parameters: Iterable[Tensor],
) -> tuple[GaussNewtonOperator, HessianOperator]:
    r"""Return the two parts H0 and Hp of the Hessian H = H0 + Hp, from one evaluation.

    `H_0 = J^T \nabla_f^2 \ell J`, and `H_p = \sum_a (\partial \ell / \partial f_a)
    \nabla_x^2 f_a`. For the quadratic hinge, with gaps Delta as outputs and the loss
    (1/P) sum_m max(0, Delta_m)^2 / 2, the sums run over the violated gaps only:

        H0 = (1/P) sum_{Delta_m > 0} grad Delta_m grad Delta_m^T    of rank at most N_Delta,
        Hp = (1/P) sum_{Delta_m > 0} Delta_m grad grad Delta_m      of trace 0 for ReLU.

    Of a `NetworkEnergy` the outputs are ``energy.architecture(energy.inputs[None])``.

    Args:
        outputs: returns f at the present parameters, any shape; (R, …) where R > 1.
        loss: maps outputs to the energies, a scalar or (R,).
        parameters: what to differentiate by; where R > 1, with the replica axis first.

    Source: Geiger et al. 2019, PRE 100, 012115, arXiv:1809.09349.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> H0, Hp = split_hessian(lambda: x[0] * x[1:], lambda f: (f**2).sum() / 2, [x])
    >>> Hp @ torch.tensor([[1.0, 0.0]])
    tensor([[0., 2.]])
    """
    tensors = list(parameters)
    device = tensors[0].device if tensors else torch.device("cpu")
    with twice_differentiable(device):
        f = outputs()
        leaf = f.detach().requires_grad_()
        energies = evaluate(lambda: loss(leaf))
        (slope,) = torch.autograd.grad(energies.sum(), leaf)
    H0 = GaussNewtonOperator(lambda: f, loss, tensors)
    Hp = HessianOperator(lambda: (slope * f).reshape(len(energies), -1).sum(-1), tensors)
    return H0, Hp
