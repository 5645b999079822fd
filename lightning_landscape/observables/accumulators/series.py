"""A series of energies, one per step, of which everything is kept but the series."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.observables.accumulators.accumulator import Accumulator, States
from lightning_landscape.observables.accumulators.autocorrelation import Levels, empty_levels
from lightning_landscape.observables.accumulators.histogram import Bins, empty_bins
from lightning_landscape.observables.accumulators.moments import (
    Blocks,
    empty_blocks,
    excess_kurtosis,
    mean,
    skewness,
    variance,
)
from lightning_landscape.observables.accumulators.power_spectrum import Segments, empty_segments

__all__ = ["EnergySeries", "Series"]

# Values are worked on so many at a time: a transform or a merge costs the same for one or for all.
_CHUNK = 256


class Series:
    """The tensors of several accumulators of one series, and those values that still wait.

    Attributes:
        units: what U is divided by in the histogram, (R,).
        waiting: values that are not yet worked on, (256, R).
        filled: how many there are.
        lost: the number of values left out.
        least: the lowest value, (R,).
    """

    units: Tensor
    waiting: Tensor
    filled: Tensor
    lost: Tensor
    least: Tensor
    # of the accumulators, each with its name before that of its tensor
    blocks_moments: Tensor
    blocks_length: Tensor
    blocks_complete: Tensor
    blocking_moments: Tensor
    blocking_unpaired: Tensor
    blocking_has_unpaired: Tensor
    spectrum_tail: Tensor
    spectrum_filled: Tensor
    spectrum_segments: Tensor
    spectrum_power: Tensor
    spectrum_squares: Tensor
    histogram_counts: Tensor
    histogram_low: Tensor
    histogram_width: Tensor

    def __init__(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            setattr(self, name, tensor)

    @property
    def blocks(self) -> Blocks:
        """The moments."""
        return Blocks(self.blocks_moments, self.blocks_length, self.blocks_complete)

    @property
    def blocking(self) -> Levels:
        """The autocorrelation time."""
        return Levels(self.blocking_moments, self.blocking_unpaired, self.blocking_has_unpaired)

    @property
    def spectrum(self) -> Segments:
        """The power spectrum."""
        return Segments(
            self.spectrum_tail,
            self.spectrum_filled,
            self.spectrum_segments,
            self.spectrum_power,
            self.spectrum_squares,
        )

    @property
    def histogram(self) -> Bins:
        """The histogram of U over its unit."""
        return Bins(self.histogram_counts, self.histogram_low, self.histogram_width)

    def add(self, values: Tensor) -> None:
        """Take in the next values, shape (n, R)."""
        start, waiting = 0, self.waiting
        while start < len(values):
            filled = int(self.filled)
            taken = min(_CHUNK - filled, len(values) - start)
            waiting[filled : filled + taken] = values[start : start + taken]
            start += taken
            self.filled.fill_((filled + taken) % _CHUNK)
            if filled + taken == _CHUNK:
                self._process(waiting)

    def _process(self, chunk: Tensor) -> None:
        if not chunk.isfinite().all():
            self.lost.add_(len(chunk))
            return
        self.least.copy_(torch.minimum(self.least, chunk.amin(0)))
        self.blocks.add(chunk)
        self.blocking.add(chunk)
        self.spectrum.add(chunk)
        self.histogram.add(chunk / self.units)

    def merge(self, other: Series) -> None:
        """Append a later stretch of the series, or another one like it.

        What waits in ``other`` is worked on first, so that nothing reaches from one into the
        other; what waits here goes on waiting.
        """
        same = torch.equal(self.units, other.units)
        require(same, "units", other.units.tolist(), f"must be {self.units.tolist()}")
        if int(other.filled):
            other._process(other.waiting[: int(other.filled)])
        self.blocks.merge(other.blocks)
        self.blocking.merge(other.blocking)
        self.spectrum.merge(other.spectrum)
        self.histogram.merge(other.histogram)
        self.lost.add_(other.lost)
        self.least.copy_(torch.minimum(self.least, other.least))

    def results(self) -> dict[str, Tensor]:
        """Return what is known of the series, float64, each (R,) but for the last six.

        ``samples``, ``lost``; ``mean``, ``variance``, ``skewness``, ``kurtosis`` (excess), each
        with ``_error`` from leaving out blocks, the mean's from `Blocking`; ``least``; ``tau`` in
        steps with ``tau_error``, and ``tau_is_lower_bound``, 1 where the series is too short for
        more; ``drift`` from the first to the last block with ``drift_error``; ``block_means``
        (B, R) and ``block_length``; ``power`` and ``power_error`` (F, R) for a step of 1;
        ``counts`` (bins, R) and ``edges`` of U over its unit.
        """
        waiting = self.waiting[: int(self.filled)]
        blocks, blocking, histogram = self.blocks, self.blocking, self.histogram
        whole = blocks.total(waiting)
        tau, tau_error = blocking.tau()
        drift, drift_error = blocks.drift()
        power, power_error = self.spectrum.density()
        least = waiting.amin(0) if len(waiting) else self.least
        found = {
            "samples": whole[0],
            "lost": self.lost.double().expand_as(tau),
            "mean": mean(whole),
            "mean_error": blocking.error(),
            "least": torch.minimum(self.least, least),
            "tau": tau,
            "tau_error": tau_error,
            "tau_is_lower_bound": blocking.is_lower_bound().double(),
            "drift": drift,
            "drift_error": drift_error,
            "block_means": blocks.complete_blocks()[1],
            "block_length": blocks.length.clone(),
            "power": power,
            "power_error": power_error,
            "counts": histogram.counts,
            "edges": histogram.edges(),
        }
        shapes = {"variance": variance, "skewness": skewness, "kurtosis": excess_kurtosis}
        for name, statistic in shapes.items():
            found |= {name: statistic(whole), f"{name}_error": blocks.error(statistic)}
        return found


class EnergySeries(Accumulator, Series):
    """Moments, autocorrelation time, power spectrum and histogram of U, for R replicas.

    Values come in portions of any size; the results do not depend on how they are cut. They wait
    until there are 256, and of those that wait at the end only the moments are counted. A portion
    of 256 in which a value is not finite is left out and counted as lost.

    Memory: about 4000 numbers per replica with segments of 1024. Cost: 3 us per step for one
    replica in portions of 100.

    Args:
        units: what U is divided by in the histogram, (R,): T, or 1 where T = 0.
        segment: of the power spectrum, in steps, even.
        state: the ``metric_state`` of an earlier one, to continue from; changed in place.

    Raises:
        UsageError: there is no replica, ``segment`` is out of range, or ``state`` does not fit.
    """

    core: ClassVar[Callable[..., Series]] = Series

    def __init__(self, units: Tensor, segment: int = 1024, state: States | None = None) -> None:
        R = len(units)
        require(R >= 1, "len(units)", R, "must be the number of replicas")
        even = segment >= 4 and segment % 2 == 0
        require(even, "segment", segment, "must be even and at least 4")
        parts = {
            "blocks": empty_blocks((R,), _CHUNK),
            "blocking": empty_levels((R,)),
            "spectrum": empty_segments((R,), segment),
            "histogram": empty_bins(R),
        }
        own = {
            "units": units.double().cpu().clone(),
            "waiting": torch.zeros(_CHUNK, R, dtype=torch.float64),
            "filled": torch.tensor(0),
            "lost": torch.tensor(0),
            "least": torch.full((R,), torch.inf, dtype=torch.float64),
        }
        states = {f"{a}_{b}": value for a, part in parts.items() for b, value in part.items()}
        super().__init__(states | own, state)

    @property
    def shape_of_values(self) -> tuple[int | None, ...]:
        """(n, R)."""
        return None, len(self.units)

    def compute(self) -> dict[str, Tensor]:
        """Return what is known of the series, see `results`."""
        return self.results()
