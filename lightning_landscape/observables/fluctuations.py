"""Gradient, displacement along directions, data near the boundary: what moves besides U."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_landscape.sphere import Sphere

__all__ = ["displacement_along", "gradient_square", "near_boundary", "orthogonal_directions"]


def gradient_square(
    energy: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    replicas: int = 1,
    constraint: Sphere | None = None,
) -> Tensor:
    r"""Return :math:`|\nabla U|^2`, (R,), float64; on a sphere, of the tangent gradient.

    In the stationary state of dx = -grad U dt + sqrt(2T) dW, whatever U is,
    <|grad U|^2> = T <tr H> (the mean of dU by Ito's formula is zero). A step of length lr changes
    the left side to first order, by the factor 1/(1 - lr lambda/2) in a quadratic valley, so that
    the ratio tells whether the step size has invalidated the sampler.

    Args:
        energy: returns energies, a scalar or (R,).
        parameters: what it depends on; with R > 1 the replica axis first.
        replicas: R.
        constraint: the sphere on which the configurations live, if any.

    Cost: one gradient.

    >>> x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> gradient_square(lambda: x.square().sum() / 2, [x])
    tensor([25.], dtype=torch.float64)
    """
    total = energy().sum()
    gradient = torch.autograd.grad(total, list(parameters), allow_unused=True)
    present = [(g, p) for g, p in zip(gradient, parameters, strict=True) if g is not None]
    flat = torch.cat([g.reshape(replicas, -1).double() for g, _ in present], 1)
    if constraint is not None:
        x = torch.cat([p.detach().reshape(replicas, -1).double() for _, p in present], 1)
        flat = constraint.project_(flat, x)
    return flat.square().sum(1).cpu()


def orthogonal_directions(directions: Tensor, random: Tensor) -> Tensor:
    """Return ``random`` made orthonormal, and orthogonal to ``directions``; both (R, k, N).

    In a space of many flat directions, random ones are flat but for a fraction n/N.
    """
    both = torch.cat([directions, random.to(directions)], 1)
    return torch.linalg.qr(both.mT).Q.mT[:, directions.shape[1] :].contiguous()


def displacement_along(x: Tensor, origin: Tensor, directions: Tensor) -> Tensor:
    """Return the mean over k directions of the squared displacement along each, (R,), float64.

    Along an eigenvector of curvature lambda it saturates at 2T/lambda; along a flat one it grows
    as 2Tt.

    Args:
        x: configurations, (R, N).
        origin: where they came from, (R, N).
        directions: unit vectors, (R, k, N).
    """
    along = torch.einsum("rn,rkn->rk", (x - origin).to(directions), directions)
    return along.double().square().mean(1).cpu()


def near_boundary(gaps: Tensor, margin: float) -> Tensor:
    """Return how many data lie within a margin of the decision boundary, (R,), float64.

    Args:
        gaps: Delta with kappa = 0, shape (R, P): minus the margin by which each is right.
        margin: in units of the network's output.

    >>> near_boundary(torch.tensor([[-0.5, -3.0, 0.2]]), margin=1.0)
    tensor([2.], dtype=torch.float64)
    """
    return (gaps.abs() <= margin).sum(1).double().cpu()
