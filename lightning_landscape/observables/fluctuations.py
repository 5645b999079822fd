"""Observables of thermal motion besides U: gradient, displacements, data near the boundary."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require
from lightning_landscape.observables.statistics import Array, jackknife

__all__ = [
    "active_data",
    "configurational_temperature_ratio",
    "displacement_along",
    "gradient_of",
    "is_off_equilibrium",
    "near_boundary",
    "orthogonal_directions",
]


def gradient_of(
    energy: Callable[[], Tensor], parameters: Sequence[Tensor], replicas: int = 1
) -> Tensor:
    """Return the gradients of energies, (R, N), float64; zero where one does not depend.

    Args:
        energy: returns energies, a scalar or (R,).
        parameters: what to differentiate by; with R > 1 the replica axis first.
        replicas: R.

    >>> x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    >>> gradient_of(lambda: x.square().sum() / 2, [x])
    tensor([[3., 4.]], dtype=torch.float64)
    """
    total, inputs = energy().sum(), list(parameters)
    gradient = torch.autograd.grad(total, inputs, materialize_grads=True)
    return torch.cat([g.reshape(replicas, -1).double() for g in gradient], 1)


@checked
def configurational_temperature_ratio(
    squares: ArrayLike, traces: ArrayLike, temperature: float
) -> tuple[float, float]:
    r"""Return <|grad U|^2> / (T <tr H>) and its standard error, from n measurements of a run.

    The numerator over <tr H> is the configurational temperature of Rugh in its simplest form, so
    the ratio is 1 for the density exp(-U/T), whatever U is; on a sphere with the tangent gradient
    and the Laplace-Beltrami operator. A step of length lr raises it, to 1/(1 - lr lambda/2) in a
    quadratic valley, so that it tells whether the step size has invalidated the sampler. It also
    exceeds 1 while U still falls, and with the noise of mini-batches.

    Args:
        squares: |grad U|^2, shape (n,).
        traces: tr H at the same moments.
        temperature: T > 0.

    Source: Rugh 1997, Phys. Rev. Lett. 78, 772; in this form Butler, Ayton, Jepps, Evans 1998,
    J. Chem. Phys. 109, 6519.

    >>> configurational_temperature_ratio([1.0, 3.0], [20.0, 20.0], temperature=0.1)
    (1.0, 0.5)
    """
    gradients, curvatures = np.ravel(np.asarray(squares)), np.ravel(np.asarray(traces))
    sizes = f"{len(gradients)} and {len(curvatures)} values"
    same = len(gradients) == len(curvatures)
    require(same, "squares, traces", sizes, "must be as many of one as of the other")
    both = np.stack([gradients, curvatures])

    def ratio(some: Array) -> Array:
        gradient, trace = some.mean(-1)
        return np.asarray(gradient / (temperature * trace))

    value, error = jackknife(ratio, both)
    return float(value), float(error)


def is_off_equilibrium(ratio: float, error: float) -> bool:
    """Return whether a configurational temperature ratio is off 1 by more than 10 % and 3 errors.

    Or above 1.3: too large a step makes the gradient's tail so heavy that no error can be had.

    >>> is_off_equilibrium(1.2, 0.05), is_off_equilibrium(1.2, 0.1)
    (True, False)
    """
    return abs(ratio - 1) > max(0.1, 3 * error) or ratio > 1.3


def orthogonal_directions(directions: Tensor, random: Tensor) -> Tensor:
    """Return ``random`` made orthonormal, and orthogonal to ``directions``; both (R, k, N).

    In a space of N dimensions with n stiff directions, random ones are flat up to a fraction n/N.
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


def active_data(gaps: Tensor) -> Tensor:
    r"""Return how many data carry the energy, the participation ratio of their log-losses, (R,).

    `(\sum_\mu l_\mu)^2 / \sum_\mu l_\mu^2` with `l = \ln(1 + e^\Delta)`: P where all
    lie equally far from the boundary, 1 where one is much nearer than the others. It needs no
    margin, which would have to change with T.

    Args:
        gaps: as in `near_boundary`.

    >>> active_data(torch.tensor([[-9.0, -9.0, -9.0, -30.0]])).round(decimals=3)
    tensor([3.], dtype=torch.float64)
    """
    losses = torch.nn.functional.softplus(gaps.double())
    return (losses.sum(1).square() / losses.square().sum(1)).cpu()
