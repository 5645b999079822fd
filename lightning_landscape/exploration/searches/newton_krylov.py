"""Newton-Krylov: Newton steps from products with the Hessian, by minimal residuals."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.saddles.ends import Ends
from lightning_landscape.errors import require, require_whole
from lightning_landscape.exploration.landscape import Landscape, retract
from lightning_landscape.exploration.searches.saddles import Collector, Saddles

__all__ = ["newton_krylov"]

_WINDOW, _HALVINGS = 4, 12


@checked
def newton_krylov(
    landscape: Landscape,
    x: Tensor,
    dimensions: int = 20,
    max_step: float = 2.0,
    tolerance: float = 1e-12,
    quasi: float = 1e-3,
    steps: int = 100,
) -> Saddles:
    r"""Solve \nabla E = 0 by inexact Newton steps; rows that have ended leave.

    The step h minimises |g + H h| in the Krylov space of g, H g, … of so many dimensions, with the
    products by differences of gradients, and is halved until |g| falls. Ends in stationary points
    of any index, and in quasi-saddles as all that lowers |g|.

    The common method of large systems of equations; what it needs on rough landscapes is about
    twice what `descend_squared_gradient` does. Cost: ``dimensions`` + 1 gradients a
    step and row, and one for each halving.

    Args:
        landscape: where.
        x: starts, shape (B, N).
        dimensions: of the Krylov space.
        max_step: the longest step.
        tolerance: of |g|^2 / N at a stationary point.
        quasi: the ratio of a quasi-saddle, see `dynamics.saddles.ends.Ends`.
        steps: the largest number of steps of a row.

    Raises:
        UsageError: an argument out of range.

    Source: Knoll, Keyes 2004, J. Comput. Phys. 193, 357; Paige, Saunders 1975, SIAM J. Numer. Anal.
    12, 617 (minimal residuals).

    >>> from lightning_landscape.energies import SixHumpCamel
    >>> start = torch.tensor([[-1.1, 0.6]], dtype=torch.float64)
    >>> newton_krylov(Landscape(SixHumpCamel(dtype="float64")), start, 2).kind.tolist()
    [1]
    """
    require_whole("dimensions", dimensions)
    require(max_step > 0, "max_step", max_step, "must be above 0")
    require_whole("steps", steps)
    m = min(dimensions, landscape.N)
    x, found = landscape.retract(x).clone(), Collector(x)
    E, g = landscape.value_and_gradient(x)
    found.spend(gradients=1)
    stuck, ends = torch.zeros_like(E).bool(), Ends(E, tolerance, quasi, _WINDOW)
    for step in range(steps + 1):
        h, Hg = _newton_step(landscape, x, g, m)
        found.spend(gradients=m)
        ends.judge(g.square().sum(1) / 2, Hg, stuck)
        staying = found.collect(x, E, ends.kind, last=step == steps)
        if not len(staying):
            break
        x, E, g, h = x[staying], E[staying], g[staying], h[staying]
        ends = ends.only(staying)
        x, E, g, stuck = _backtracked(landscape, x, E, g, h, max_step, found)
    return found.saddles


def _newton_step(landscape: Landscape, x: Tensor, g: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Return the step that minimises |g + H h| in m dimensions, and H g, each (B, N)."""
    length = g.norm(dim=1, keepdim=True)
    tiny = torch.finfo(g.dtype).tiny
    Q, images = [g / length.clamp_min(tiny)], []
    for k in range(m):
        image = landscape.product(x, g, Q[k])
        images.append(image)
        basis = torch.stack(Q, dim=1)
        rest = image
        for _ in range(2):  # once more, against rounding
            rest = rest - (basis.mT @ (basis @ rest.unsqueeze(2))).squeeze(2)
        Q.append(rest / rest.norm(dim=1, keepdim=True).clamp_min(tiny))
    A = torch.stack(images, dim=2)
    c = torch.linalg.pinv(A, rtol=1e-10) @ g.unsqueeze(2)
    return -(torch.stack(Q[:m], dim=2) @ c).squeeze(2), length * images[0]


def _backtracked(
    landscape: Landscape,
    x: Tensor,
    E: Tensor,
    g: Tensor,
    h: Tensor,
    max_step: float,
    found: Collector,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve the steps until |g| falls; return x, E, g, and where it never did."""
    x, E, g = x.clone(), E.clone(), g.clone()
    h = h * (max_step / h.norm(dim=1, keepdim=True)).clamp_max(1.0)
    waiting = torch.arange(len(x))
    for halving in range(_HALVINGS):
        new = retract(landscape, x[waiting], h[waiting] * 0.5**halving, max_step)
        E_new, g_new = landscape.value_and_gradient(new)
        found.saddles.gradients[found.rows[waiting]] += 1
        lower = g_new.norm(dim=1) < g[waiting].norm(dim=1) * (1 - 1e-4 * 0.5**halving)
        done = waiting[lower]
        x[done], E[done], g[done] = new[lower], E_new[lower], g_new[lower]
        waiting = waiting[~lower]
        if not len(waiting):
            break
    stuck = torch.zeros_like(E).bool()
    stuck[waiting] = True
    return x, E, g, stuck
