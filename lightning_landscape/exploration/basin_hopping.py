"""Basin hopping: a Monte Carlo walk from minimum to minimum, many walkers at once."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require
from lightning_landscape.exploration.landscape import Landscape, Points
from lightning_landscape.exploration.searches.quench import quench
from lightning_landscape.rng import Stream

__all__ = ["basin_hopping"]


@checked
def basin_hopping(
    landscape: Landscape,
    x: Tensor,
    hops: int = 100,
    kick: float = 0.4,
    temperature: float = 1.0,
    max_step: float = 0.4,
    seed: int = 0,
) -> Points:
    """Return the lowest minimum that each walker has found.

    A hop kicks a minimum, quenches, and accepts the new minimum with the probability
    min(1, exp(-(E' - E) / T)). A quench that does not converge is rejected.

    Cost: a quench a hop and walker.

    Args:
        landscape: where.
        x: starts, shape (B, N), quenched first.
        hops: how many.
        kick: the standard deviation of the kick of each coordinate.
        temperature: T >= 0, in units of the energy.
        max_step: the longest step of a quench.
        seed: of kicks and acceptance; walker b at hop k depends on the seed, b and k.

    Raises:
        UsageError: an argument out of range.

    Source: Li, Scheraga 1987, PNAS 84, 6611; Wales, Doye 1997, cond-mat/9803344.

    >>> from lightning_landscape.energies import SixHumpCamel
    >>> start = torch.tensor([[1.6, 0.5]], dtype=torch.float64)
    >>> lowest = basin_hopping(Landscape(SixHumpCamel(dtype="float64")), start, hops=20, kick=1.0)
    >>> lowest.energy.round(decimals=6)
    tensor([-1.0316], dtype=torch.float64)
    """
    require(hops >= 0, "hops", hops, "must be at least 0")
    require(kick > 0, "kick", kick, "must be > 0")
    require(temperature >= 0, "temperature", temperature, "must be at least 0")
    now = quench(landscape, x, max_step)
    best = now
    kicks, chances = Stream(seed, "hops"), Stream(seed, "acceptance")
    for hop in range(hops):
        z = kicks.normal_(torch.empty(x.shape, dtype=x.dtype), step=hop)
        new = quench(landscape, landscape.retract(now.x + kick * z), max_step)
        # uniform numbers as the normal distribution function of normals
        u = torch.special.ndtr(chances.normal_(torch.empty(len(x), dtype=x.dtype), step=hop))
        rise = new.energy - now.energy
        climbs = u < torch.exp(-rise / temperature) if temperature > 0 else torch.zeros_like(u) > 0
        accepted = new.converged & ((rise <= 0) | climbs | ~now.converged)
        now = _chosen(accepted, new, now)
        better = new.converged & ((new.energy < best.energy) | ~best.converged)
        best = _chosen(better, new, best)
    return best


def _chosen(which: Tensor, new: Points, old: Points) -> Points:
    x = torch.where(which.unsqueeze(1), new.x, old.x)
    energy = torch.where(which, new.energy, old.energy)
    return Points(x, energy, torch.where(which, new.converged, old.converged))
