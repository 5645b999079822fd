"""W = |grad E|^2 / 2 and its gradient, by gradients of E only."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.dynamics.minimizers.descent import Evaluate
from lightning_landscape.errors import require
from lightning_landscape.sphere import Sphere

__all__ = ["product_along", "squared_gradient"]

# 1e-3 of a coordinate of order 1: cubic terms are smaller than rounding of the difference
STEP = 1e-3


def squared_gradient(
    evaluate: Evaluate, x: Tensor, sphere: Sphere | None = None, step: float = STEP
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return E, W = |g|^2 / 2, both (B,), and \nabla W = H g, (B, N), at each row of ``x``.

    The product with the Hessian is a central difference along g,

        H g = |g| [g(x + h g/|g|) - g(x - h g/|g|)] / (2 h),

    exact for cubic energies, elsewhere to h^2 times fourth derivatives. On the sphere |x|^2 = N
    gradients are tangent and H is the Hessian there, H + mu with mu = -x.g/N. Stationary points
    of E of any index are the zeros of W, and W has other minima, where H g = 0 and g is not 0.

    Cost: 3 gradients a row.

    Args:
        evaluate: energies and tangent gradients at rows.
        x: shape (B, N).
        sphere: on which the rows are, or None.
        step: h, a length.

    Raises:
        UsageError: the step is not positive.

    >>> x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    >>> l = torch.tensor([-1.0, 3.0])  # E = (-x_1^2 + 3 x_2^2) / 2
    >>> E, W, Hg = squared_gradient(lambda x: ((l * x * x).sum(1) / 2, l * x), x)
    >>> W.item(), Hg.round(decimals=9).tolist()
    (18.5, [[1.0, 18.0]])
    """
    require(step > 0, "step", step, "must be above 0")
    E, g = evaluate(x)
    return E, g.square().sum(1) / 2, product_along(evaluate, x, g, sphere, step)


def product_along(
    evaluate: Evaluate, x: Tensor, v: Tensor, sphere: Sphere | None = None, step: float = STEP
) -> Tensor:
    """Return H v, shape (B, N), by a central difference along v; 2 gradients a row.

    Args:
        evaluate: energies and tangent gradients at rows.
        x: shape (B, N).
        v: shape (B, N), tangent on the sphere.
        sphere: on which the rows are, or None.
        step: the length of the displacement.
    """
    length = v.norm(dim=1, keepdim=True)
    h = v * (step / length.clamp_min(torch.finfo(v.dtype).tiny))
    ahead, behind = x + h, x - h
    if sphere is not None:
        sphere.retract_(ahead)
        sphere.retract_(behind)
    Hv = (evaluate(ahead)[1] - evaluate(behind)[1]) * (length / (2 * step))
    return Hv if sphere is None else sphere.project_(Hv, x)
