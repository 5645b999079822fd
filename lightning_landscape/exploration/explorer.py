"""Quenches, kicks, searches and connections, round after round."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.dynamics.saddles.ends import Kind
from lightning_landscape.energies.energy import HasSymmetry
from lightning_landscape.errors import require
from lightning_landscape.exploration.connection import connect
from lightning_landscape.exploration.database import Database
from lightning_landscape.exploration.identity import Identity
from lightning_landscape.exploration.landscape import Landscape, Points
from lightning_landscape.exploration.searches.eigenvector_following import eigenvector_following
from lightning_landscape.exploration.searches.follower import follow
from lightning_landscape.exploration.searches.hybrid import hybrid_eigenvector_following
from lightning_landscape.exploration.searches.quench import quench
from lightning_landscape.exploration.searches.saddles import descend_squared_gradient
from lightning_landscape.rng import Stream

__all__ = ["Explorer", "Method"]

Method = Literal["auto", "hessian", "hybrid", "follower"]

_METHODS = ("auto", "hessian", "hybrid", "follower")
# up to which N a Hessian pays, where it is written out and where it is N products
_LARGEST_HESSIAN, _LARGEST_BY_PRODUCTS = 200, 20
# of transition states that are known already
_UNUSED: NDArray[np.float64] = np.empty(0)
# starts of descents are none of the quenches
_DESCENTS = 2**31
# attempts to leave a saddle at which a quench has ended
_ATTEMPTS = 3


class Explorer(Checked):
    """Fills a database: minima by quenches, transition states by searches from kicked minima.

    A round quenches random starts, or kicks known minima, searches for a transition state from
    each, and finds the minima on both sides of every new one. Every point is classified by its
    whole spectrum. All starts are functions of the seed and the number of the quench or search, so
    that an exploration resumes where its database ends, and a round gives the same again.

    Args:
        landscape: what to explore.
        width: of the random starts in flat space.
        kick: the standard deviation of the kick of each coordinate of a minimum.
        max_step: the longest step of a quench or search.
        method: of the searches: ``hessian`` (eigenvector following), ``hybrid`` (gradients only),
            ``follower`` (gradients only, for glasses); ``auto`` takes the Hessian up to
            N = 200 where it is written out and up to N = 20 elsewhere, else the follower on a
            sphere and the hybrid in flat space.
        batch: how many quenches or searches go together.
        identity: which points are the same.
        flat: eigenvalues of smaller size count as 0; points with such are counted, not kept.
        seed: of starts and kicks.
        least_binding: ends count only if their energy is below so much of the lowest one, which
            must be negative: 0.5 rejects clusters that have evaporated. None takes all.
        relaxation: how many steps of gradient descent precede a descent of the squared gradient:
            the energy they reach decides which index is found.
        rate: the size of these steps, x <- x - rate grad E.

    Raises:
        UsageError: an argument out of range.

    >>> from lightning_landscape.energies import SixHumpCamel
    >>> explorer = Explorer(Landscape(SixHumpCamel(dtype="float64")), width=1.5)
    >>> database = explorer.run(quenches=50, searches=100)
    >>> database.minima.energy.min().round(6)
    np.float64(-1.031628)
    """

    def __init__(
        self,
        landscape: Landscape,
        width: float = 1.0,
        kick: float = 0.4,
        max_step: float = 0.4,
        method: Method = "auto",
        batch: int = 100,
        identity: Identity | None = None,
        flat: float = 1e-4,
        seed: int = 0,
        least_binding: float | None = None,
        relaxation: int = 40,
        rate: float = 0.02,
    ) -> None:
        require(width > 0, "width", width, "must be > 0")
        require(kick > 0, "kick", kick, "must be > 0")
        require(max_step > 0, "max_step", max_step, "must be > 0")
        require(method in _METHODS, "method", method, f"must be one of {', '.join(_METHODS)}")
        require(batch >= 1, "batch", batch, "must be at least 1")
        require(flat >= 0, "flat", flat, "must be at least 0")
        fraction = least_binding is None or 0 < least_binding < 1
        require(fraction, "least_binding", least_binding, "must lie between 0 and 1")
        self.landscape, self.width, self.kick, self.max_step = landscape, width, kick, max_step
        self.batch, self.flat, self.seed = batch, flat, seed
        require(relaxation >= 0, "relaxation", relaxation, "must be at least 0")
        require(rate > 0, "rate", rate, "must be > 0")
        self.least_binding, self.relaxation, self.rate = least_binding, relaxation, rate
        self.identity = identity or Identity()
        self.method = self._chosen() if method == "auto" else method

    def _chosen(self) -> str:
        largest = _LARGEST_HESSIAN if self.landscape.has_hessian else _LARGEST_BY_PRODUCTS
        if self.landscape.N <= largest:
            return "hessian"
        return "hybrid" if self.landscape.sphere is None else "follower"

    def empty(self) -> Database:
        """Return a database of this landscape without points."""
        nothing = torch.empty(0, self.landscape.N, dtype=torch.float64)
        modes = self.landscape.spectrum(nothing).shape[1]
        return Database.empty(self.landscape.N, modes, self.identity)

    def run(
        self,
        quenches: int,
        searches: int,
        database: Database | None = None,
        after_round: Callable[[Database], None] | None = None,
        descents: int = 0,
    ) -> Database:
        """Go on until there are so many quenches, searches and descents; return the database.

        Args:
            quenches: from random starts; they come first.
            searches: for transition states, from kicked minima.
            database: to continue; None begins a new one.
            after_round: is called with the database after every round, to write it, for example.
            descents: of the squared gradient, to stationary points of any index; they come last.
        """
        database = self.empty() if database is None else database
        database.identity = self.identity
        wanted = {"quenches": quenches, "searches": searches, "descents": descents}
        while any(getattr(database, name) < number for name, number in wanted.items()):
            before = self.landscape.gradients, self.landscape.hessians, time.process_time()
            if database.quenches < quenches:
                self._quench(database, min(self.batch, quenches - database.quenches))
            elif database.searches < searches:
                require(len(database.minima) > 0, "quenches", quenches, "have found no minimum")
                self._search(database, min(self.batch, searches - database.searches))
            else:
                self._descend(database, min(self.batch, descents - database.descents))
            database.gradients += self.landscape.gradients - before[0]
            database.hessians += self.landscape.hessians - before[1]
            database.seconds += time.process_time() - before[2]
            if after_round is not None:
                after_round(database)
        return database

    def _quench(self, database: Database, number: int) -> None:
        starts = self.landscape.starts(self.seed, database.quenches, number, self.width)
        ends = quench(self.landscape, starts, self.max_step)
        self._add_minima(database, ends, seen=1)
        database.quenches += number

    def _search(self, database: Database, number: int) -> None:
        first = database.searches
        starts = self._kicked(database, first, number)
        self.search_from(database, starts, self._normals("directions", first, number))
        database.searches += number

    def search_from(self, database: Database, x: Tensor, directions: Tensor) -> None:
        """Add the transition states to which searches lead, and the minima on their two sides.

        Args:
            database: what they are added to; its number of searches stays.
            x: starts, shape (B, N).
            directions: first guesses of the unstable modes, shape (B, N), for the methods without
                Hessians.
        """
        ends = self._transition_states(x, directions)
        keep = self._acceptable(database, ends)
        x, E = ends.x[keep], ends.energy[keep]
        spectrum = self.landscape.spectrum(x)
        index, flat = (spectrum < -self.flat).sum(1), (spectrum.abs() <= self.flat).any(1)
        database.flat += int(flat.sum())
        database.other += int(((index != 1) & ~flat).sum())
        good = (index == 1) & ~flat
        self._add_transition_states(database, x[good], E[good], spectrum[good])

    def add_minima(self, database: Database, x: Tensor) -> list[int]:
        """Quench rows of ``x``, add where they end; return the number of each minimum, or -1."""
        return self._add_minima(database, quench(self.landscape, x, self.max_step), seen=0)

    def _descend(self, database: Database, number: int) -> None:
        """Descend the squared gradient, from starts that have relaxed for a while."""
        first = database.descents
        x = self.landscape.starts(self.seed, _DESCENTS + first, number, self.width)
        for _ in range(self.relaxation):
            x = self.landscape.retract(x - self.rate * self.landscape.value_and_gradient(x)[1])
        end = descend_squared_gradient(self.landscape, x, max_step=self.max_step)
        keep = end.converged
        database.quasi += int((end.kind == Kind.QUASI).sum())
        points = end.energy[keep].tolist(), end.x[keep], self.landscape.spectrum(end.x[keep])
        for E, row, values in zip(*points, strict=True):
            database.add_saddle(E, row.numpy(), values.numpy())
        database.descents += number

    def _kicked(self, database: Database, first: int, number: int) -> Tensor:
        """Return minima, each in its turn, displaced by kicks."""
        turns = np.arange(first, first + number) % len(database.minima)
        x, kicks = torch.from_numpy(database.minima.x[turns]), self._normals("kicks", first, number)
        return self.landscape.retract(x + self.kick * kicks)

    def _normals(self, name: str, first: int, number: int) -> Tensor:
        stream, out = Stream(self.seed, name), torch.empty(number, self.landscape.N).double()
        for r, row in enumerate(out):
            stream.normal_(row, step=first + r)
        return out

    def _transition_states(self, x: Tensor, directions: Tensor) -> Points:
        if self.method == "hessian":
            return eigenvector_following(self.landscape, x, self.max_step)
        search = hybrid_eigenvector_following if self.method == "hybrid" else follow
        return search(self.landscape, x, directions, self.max_step)

    def _acceptable(self, database: Database, points: Points) -> Tensor:
        if self.least_binding is None or not len(points.energy):
            return points.converged
        lowest = float(points.energy[points.converged].min()) if points.converged.any() else 0.0
        if len(database.minima):
            lowest = min(lowest, float(database.minima.energy.min()))
        return points.converged & (points.energy < self.least_binding * lowest)

    def _add_minima(self, database: Database, ends: Points, seen: int) -> list[int]:
        """Add the ends of quenches; return the number of each minimum, -1 for what is none."""
        keep = self._acceptable(database, ends).nonzero().squeeze(1)
        x, E = ends.x[keep], ends.energy[keep]
        spectrum = self.landscape.spectrum(x)
        for _ in range(_ATTEMPTS):  # a quench can end on a saddle
            on_saddle = (spectrum[:, 0] < -self.flat).nonzero().squeeze(1)
            if not len(on_saddle):
                break
            mode = self.landscape.lowest_mode(x[on_saddle])
            again = quench(self.landscape, x[on_saddle] + 0.05 * mode, 0.1, steps=3000)
            x[on_saddle], E[on_saddle] = again.x, again.energy
            spectrum[on_saddle] = self.landscape.spectrum(again.x)
        numbers = [-1] * len(ends.energy)
        for k, E_k, row, values in zip(keep.tolist(), E.tolist(), x, spectrum, strict=True):
            if values[0] > self.flat:
                known = database.find_minimum(E_k, row.numpy(), values.numpy())
                order = self._order(row) if known < 0 else 1
                numbers[k] = database.add_minimum(E_k, row.numpy(), values.numpy(), order, seen)
            else:
                database.flat += 1
        return numbers

    def _add_transition_states(
        self, database: Database, x: Tensor, E: Tensor, spectrum: Tensor
    ) -> None:
        """Connect those that are new, and count the others."""
        waiting = Database.empty(x.shape[1], spectrum.shape[1], database.identity)
        new = []
        for k, (E_k, values) in enumerate(zip(E.tolist(), spectrum.numpy(), strict=True)):
            point = E_k, x[k].numpy(), values
            if database.find_transition_state(*point) < 0:
                if waiting.find_transition_state(*point) < 0:
                    new.append(k)
                waiting.add_transition_state(*point, x[k].numpy(), (-1, -1))
        some = torch.tensor(new, dtype=torch.int64)
        modes = self.landscape.lowest_mode(x[some]) if new else x[some]
        sides = connect(self.landscape, x[some], modes)
        ends = zip(*(self._add_minima(database, side, seen=0) for side in sides), strict=True)
        facts = {k: (mode.numpy(), pair) for k, mode, pair in zip(new, modes, ends, strict=True)}
        for k, (E_k, values) in enumerate(zip(E.tolist(), spectrum.numpy(), strict=True)):
            mode, pair = facts.get(k, (_UNUSED, (-1, -1)))
            order = self._order(x[k]) if k in facts else 1
            database.add_transition_state(E_k, x[k].numpy(), values, mode, pair, order)

    def _order(self, x: Tensor) -> int:
        energy = self.landscape.energy
        return int(energy.symmetry_order(x[None])) if isinstance(energy, HasSymmetry) else 1
