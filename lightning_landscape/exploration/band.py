"""The doubly nudged elastic band: minimum-energy paths between given configurations."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.minimizers.active_replicas import rows_of
from lightning_landscape.dynamics.minimizers.fire import FIRE
from lightning_landscape.errors import require, require_whole

__all__ = ["Bands", "Differentiable", "elastic_band"]

# of the tolerance, from which on the highest image climbs
_CLIMBS_BELOW = 20.0
# the first and the longest time step of FIRE, in units of k^(-1/2)
_TIME_STEP, _LONGEST = 0.1, 10.0


class Differentiable(Protocol):
    """What a band needs of a landscape: `Landscape`, or anything else with these methods."""

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the energies (B,) and the gradients (B, N) at rows of ``x``."""

    def retract(self, x: Tensor) -> Tensor:
        """Return the configurations that the rows of ``x`` stand for."""

    def tangent(self, v: Tensor, x: Tensor) -> Tensor:
        """Return the parts of ``v`` (B, N) in which the rows of ``x`` can move."""


class Bands(NamedTuple):
    """B paths of n = images + 2 configurations each.

    Attributes:
        x: the ends and the images between them, shape (B, n, N).
        energy: shape (B, n).
        tangent: unit vectors along the path, shape (B, n - 2, N).
        converged: whether the force on every image is below the tolerance, shape (B,), bool.
    """

    x: Tensor
    energy: Tensor
    tangent: Tensor
    converged: Tensor

    @property
    def arc_length(self) -> Tensor:
        """The length of the path up to each image, shape (B, n)."""
        steps = self.x.diff(dim=1).norm(dim=2)
        return torch.cat([steps.new_zeros(len(steps), 1), steps.cumsum(1)], dim=1)

    def maxima(self) -> list[tuple[int, int]]:
        """Return the path and the image, counted from 1, of every local maximum between ends."""
        E = self.energy
        higher = (E[:, 1:-1] > E[:, :-2]) & (E[:, 1:-1] >= E[:, 2:])
        return [(b, i + 1) for b, i in higher.nonzero().tolist()]


@checked
def elastic_band(
    landscape: Differentiable,
    start: Tensor,
    end: Tensor,
    images: int = 11,
    max_step: float = 0.1,
    tolerance: float = 1e-3,
    steps: int = 500,
    climb: bool = True,
) -> Bands:
    r"""Relax straight lines from ``start`` to ``end`` to minimum-energy paths, all together.

    Each image moves along -G by FIRE,

        G = g_\perp + k (l_- - l_+) \tau + s [s_\perp - (s_\perp . u) u],   u = g_\perp / |g_\perp|,

    with the part g_\perp of the gradient across the tangent \tau, the distances l_-+ to the
    neighbours x_-+, and the part s_\perp of the pull of the springs k (2 x - x_- - x_+) across
    \tau. The last term, the second nudging, straightens kinks; the factor
    s = (2/pi) arctan(|g_\perp|^2 / |s_\perp|^2) takes it away at the end, when it would keep the
    band from converging. \tau points to the higher neighbour. With ``climb`` the highest image of
    a band that has almost converged goes uphill, G = g - 2 (g . \tau) \tau, and ends at the saddle.

    k is the mean |g| of the first images over their distance. A band has converged where |G| <=
    ``tolerance`` on every image, and then leaves. It leads over a saddle, not necessarily over the
    lowest; where it goes through other minima, see `find_path`.

    Cost: ``images`` gradients a step, and 200 to 300 steps.

    Args:
        landscape: where.
        start: shape (B, N), minima as a rule; of clusters see `Landscape.nearest_copy`.
        end: shape (B, N).
        images: between the ends of each path, >= 1.
        max_step: the longest step of an image.
        tolerance: of the force |G| on an image.
        steps: the largest number of steps.
        climb: whether the highest image climbs.

    Raises:
        UsageError: an argument out of range, equal ends, or an energy that is not finite.

    Source: Trygubenko, Wales 2004, J. Chem. Phys. 120, 2082; tangents and climbing: Henkelman,
    Jónsson 2000, J. Chem. Phys. 113, 9978, and with Uberuaga, ibid. 9901; s: Sheppard, Terrell,
    Henkelman 2008, J. Chem. Phys. 128, 134106.

    >>> from lightning_landscape.energies import MuellerBrown
    >>> from lightning_landscape.exploration import Landscape
    >>> wells = torch.tensor([[0.623499, 0.028038], [-0.050011, 0.466694]]).double()
    >>> path = elastic_band(Landscape(MuellerBrown(dtype="float64")), wells[:1], wells[1:])
    >>> path.energy.max().round(decimals=4)
    tensor(-72.2489, dtype=torch.float64)
    """
    _check(start, end, images, max_step, tolerance, steps)
    band = _Band(landscape, start, end, images, climb)
    ended = Bands(band.x.clone(), band.E.clone(), band.tangent, torch.zeros(len(start)).bool())
    rows = torch.arange(len(start))
    for step in range(steps + 1):
        G = band.force(tolerance)
        done = (G.norm(dim=2).amax(1) <= tolerance) & (band.climbing | (not climb))
        leaving = done if step < steps else torch.ones_like(done)
        if leaving.any():
            parts = (band.x, band.E, band.tangent, done)
            for whole, part in zip(ended, parts, strict=True):
                whole[rows[leaving]] = part[leaving]
            going = (~leaving).nonzero().squeeze(1)
            if not len(going):
                break
            rows, G = rows[going], G[going]
            band.keep(going)
        band.move(G, max_step)
    return ended


def _check(
    start: Tensor, end: Tensor, images: int, max_step: float, tolerance: float, steps: int
) -> None:
    fits = start.dim() == 2 and start.shape == end.shape
    shapes = tuple(start.shape), tuple(end.shape)
    require(fits, "shapes of start and end", shapes, "must both be (B, N)")
    apart = bool(((end - start).norm(dim=1) > 0).all())
    require(apart, "end", "the start", "must be another configuration than the start")
    require_whole("images", images)
    require_whole("steps", steps)
    require(max_step > 0, "max_step", max_step, "must be > 0")
    require(tolerance > 0, "tolerance", tolerance, "must be > 0")


class _Band:
    """Paths that have not converged yet.

    Attributes:
        x: shape (B, n, N).
        E: energies, shape (B, n).
        tangent: shape (B, n - 2, N).
        k: the spring constants, shape (B,).
        climbing: which have a climbing image, shape (B,), bool.
    """

    def __init__(
        self, landscape: Differentiable, start: Tensor, end: Tensor, images: int, climb: bool
    ) -> None:
        self.landscape, self.climb = landscape, climb
        share = torch.linspace(0, 1, images + 2, dtype=start.dtype, device=start.device)
        line = torch.lerp(start.unsqueeze(1), end.unsqueeze(1), share[:, None])
        self.x = landscape.retract(line.flatten(0, 1)).view(line.shape)
        E, g = self._evaluate(self.x)
        require(bool(E.isfinite().all()), "energy", "inf or nan", "must be finite on the line")
        self.E = E
        spacing = self.x.diff(dim=1).norm(dim=2).mean(1)
        self.k = g[:, 1:-1].norm(dim=2).mean(1) / spacing
        self.climbing = torch.zeros(len(start), dtype=torch.bool)
        self.tangent = torch.empty_like(self.x[:, 1:-1])
        self._start_fire()

    def _evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        E, g = self.landscape.value_and_gradient(x.flatten(0, 1))
        return E.view(x.shape[:2]), g.view(x.shape)

    def _tangent(self, v: Tensor) -> Tensor:
        x = self.x[:, 1:-1].flatten(0, 1)
        return self.landscape.tangent(v.flatten(0, 1), x).view(v.shape)

    def force(self, tolerance: float) -> Tensor:
        """Return G at the images, shape (B, n - 2, N); energies and tangents are those here."""
        inner = self.x[:, 1:-1]
        E, g = self._evaluate(inner)
        self.E = torch.cat([self.E[:, :1], E, self.E[:, -1:]], dim=1)
        before, after = self._tangent(inner - self.x[:, :-2]), self._tangent(self.x[:, 2:] - inner)
        self.tangent = tau = _tangents(self.E, before, after)
        along = torch.linalg.vecdot(g, tau).unsqueeze(2) * tau
        across, k = g - along, self.k[:, None, None]
        stretch = before.norm(dim=2, keepdim=True) - after.norm(dim=2, keepdim=True)
        springs = k * (before - after)
        springs = springs - torch.linalg.vecdot(springs, tau).unsqueeze(2) * tau
        G = across + k * stretch * tau + _second_nudging(across, springs)
        if self.climb:
            calm = across.norm(dim=2).amax(1) <= _CLIMBS_BELOW * tolerance
            self.climbing |= calm
            top = self.E[:, 1:-1].argmax(1)
            b = self.climbing.nonzero().squeeze(1)
            G[b, top[b]] = (g - 2 * along)[b, top[b]]
        return G

    def move(self, G: Tensor, max_step: float) -> None:
        """Do a step, no image further than ``max_step``."""
        before = self.inner.detach().clone()
        self.inner.grad = G.flatten(1) / self.k[:, None]
        self.fire.step()
        with torch.no_grad():
            d = self.inner - before
            longest = d.view(G.shape).norm(dim=2).amax(1)
            share = (max_step / longest).clamp_max(1.0)[:, None]
            self.fire.state[self.inner]["velocity"].mul_(share)
            images = self.landscape.retract((before + share * d).view(-1, G.shape[2]))
            self.inner.copy_(images.view(before.shape))
        self.x = torch.cat([self.x[:, :1], images.view(G.shape), self.x[:, -1:]], dim=1)

    def keep(self, index: Tensor) -> None:
        """Go on with some of the paths."""
        for name in ("x", "E", "tangent", "k", "climbing"):
            setattr(self, name, getattr(self, name)[index])
        state = self.fire.state[self.inner]
        self._start_fire()
        self.fire.state[self.inner] = {k: rows_of(v, index) for k, v in state.items()}

    def _start_fire(self) -> None:
        self.inner = torch.nn.Parameter(self.x[:, 1:-1].flatten(1).clone())
        self.fire = FIRE([self.inner], _TIME_STEP, _LONGEST / _TIME_STEP)


def _tangents(E: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Return unit vectors towards the higher neighbour; at extrema both, by their energies."""
    here = E[:, 1:-1]
    down, up = E[:, :-2] - here, E[:, 2:] - here
    most, least = down.abs().maximum(up.abs()), down.abs().minimum(up.abs())
    rising, falling = (up > 0) & (down < 0), (up < 0) & (down > 0)
    upward = torch.where(up > down, most, least), torch.where(up > down, least, most)
    forward = torch.where(rising, 1.0, torch.where(falling, 0.0, upward[0]))
    backward = torch.where(rising, 0.0, torch.where(falling, 1.0, upward[1]))
    flat = (forward == 0) & (backward == 0)
    forward, backward = forward + flat, backward + flat
    tau = forward.unsqueeze(2) * after + backward.unsqueeze(2) * before
    return torch.nn.functional.normalize(tau, dim=2)


def _second_nudging(across: Tensor, springs: Tensor) -> Tensor:
    """Return the part of the springs across the path and across the gradient, switched off."""
    unit = torch.nn.functional.normalize(across, dim=2)
    rest = springs - torch.linalg.vecdot(springs, unit).unsqueeze(2) * unit
    squares = across.square().sum(2), springs.square().sum(2)
    switch = 2 / math.pi * torch.atan2(*squares)
    return switch.unsqueeze(2) * rest
