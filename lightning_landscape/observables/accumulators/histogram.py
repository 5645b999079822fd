"""Histograms: of a range that is not known beforehand, and between fixed edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lightning_landscape.errors import require, require_whole
from lightning_landscape.observables.accumulators.accumulator import Accumulator, States
from lightning_landscape.observables.gaps import log_counts

__all__ = ["Bins", "Counts", "GrowingHistogram", "LogCounts", "empty_bins"]


class Bins:
    """Counts in equal bins that merge in pairs when a value falls outside.

    Attributes:
        counts: (bins, R), int64.
        low: the lower edge of the first bin.
        width: of a bin; 0 before the first value.
    """

    def __init__(self, counts: Tensor, low: Tensor, width: Tensor) -> None:
        self.counts, self.low, self.width = counts, low, width

    def edges(self) -> Tensor:
        """Return the edges of the bins, (bins + 1,)."""
        return self.low + self.width * torch.arange(len(self.counts) + 1).to(self.low)

    def add(self, values: Tensor) -> None:
        """Take in values, shape (n, R), all finite."""
        x, (bins, R) = values.to(self.low), self.counts.shape
        low, high = (extreme.item() for extreme in x.aminmax())
        if self.width.item() == 0:
            self._place(low, high)
        self._grow(low, high)
        flat = (self._bin(x) * R + torch.arange(R, device=x.device)).flatten()
        self.counts.add_(torch.bincount(flat, minlength=bins * R).view(bins, R))

    def merge(self, other: Bins) -> None:
        """Add the counts of another histogram of R series.

        The bins of two histograms need not coincide: the values in a bin of ``other`` go where its
        middle lies, off by at most half of the wider bin. No count is lost.
        """
        occupied = other.counts.any(1).nonzero().flatten()
        if not len(occupied):
            return
        if self.width == 0:
            self.counts.copy_(other.counts)
            self.low.copy_(other.low)
            self.width.copy_(other.width)
            return
        edges = other.edges()
        middles = (edges[:-1] + edges[1:])[occupied] / 2
        self._grow(middles[0].item(), middles[-1].item())
        self.counts.index_add_(0, self._bin(middles), other.counts[occupied])

    def _bin(self, x: Tensor) -> Tensor:
        return ((x - self.low) / self.width).long().clamp(0, self.counts.shape[0] - 1)

    def _place(self, low: float, high: float) -> None:
        """Give the first values the middle of twice their range."""
        span = max(high - low, 1e-9 * abs(low), 1e-300)
        self.width.fill_(2 * span / len(self.counts))
        self.low.fill_((low + high) / 2 - span)

    def _grow(self, low: float, high: float) -> None:
        """Double the range until it holds both values."""
        bins = self.counts.shape[0]
        half, start, width = bins // 2, self.low.item(), self.width.item()
        if start <= low and high < start + bins * width:
            return
        while low < start or high >= start + bins * width:
            paired = self.counts.view(half, 2, -1).sum(1)
            self.counts.zero_()
            if low < start:
                start -= bins * width
                self.counts[half:] = paired
            else:
                self.counts[:half] = paired
            width *= 2
        self.low.fill_(start)
        self.width.fill_(width)


class GrowingHistogram(Accumulator, Bins):
    """Counts in equal bins, for each of R series, with edges that all share.

    The first values set the bins; when others fall outside, bins merge in pairs and the range
    doubles, so that no value is ever lost and none has to be kept.

    Args:
        replicas: R.
        bins: their number, even.
        state: the ``metric_state`` of an earlier one, to continue from; changed in place.

    Raises:
        UsageError: ``bins`` is odd, or ``state`` does not fit.

    >>> histogram = GrowingHistogram(1, bins=4)
    >>> histogram.update(torch.tensor([[0.0], [1.0]])); histogram.update(torch.tensor([[6.0]]))
    >>> histogram.counts.flatten().tolist(), histogram.edges().tolist()
    ([2, 0, 0, 1], [-0.5, 1.5, 3.5, 5.5, 7.5])
    """

    core: ClassVar[Callable[..., Bins]] = Bins

    def __init__(self, replicas: int = 1, bins: int = 512, state: States | None = None) -> None:
        require_whole("replicas", replicas)
        require(bins >= 2 and bins % 2 == 0, "bins", bins, "must be even and at least 2")
        super().__init__(empty_bins(replicas, bins), state)

    @property
    def shape_of_values(self) -> tuple[int | None, ...]:
        """(n, R)."""
        return None, self.counts.shape[1]

    def update(self, values: Tensor) -> None:
        """Take in values, shape (n, R).

        Raises:
            UsageError: they are of another shape, or not finite.
        """
        finite = not isinstance(values, Tensor) or bool(values.isfinite().all())
        require(finite, "values", "nan or inf", "must be finite")
        super().update(values)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return the counts, (bins, R), and the edges, (bins + 1,)."""
        return self.counts, self.edges()


def empty_bins(replicas: int, bins: int = 512) -> dict[str, Tensor]:
    """Return the tensors of `Bins` before the first value."""
    return {
        "counts": torch.zeros(bins, replicas, dtype=torch.int64),
        "low": torch.tensor(0.0, dtype=torch.float64),
        "width": torch.tensor(0.0, dtype=torch.float64),
    }


class Counts:
    """Counts between fixed edges.

    Attributes:
        counts: (R, bins), int64.
        edges: (bins + 1,).
    """

    def __init__(self, counts: Tensor, edges: Tensor) -> None:
        self.counts, self.edges = counts, edges

    def add(self, values: Tensor) -> None:
        """Take in values, shape (R, n); those outside of the edges, and nan, do not count."""
        self.counts.add_(log_counts(values, self.edges))

    def merge(self, other: Counts) -> None:
        """Add the counts of another histogram with the same edges."""
        same = torch.equal(self.edges, other.edges)
        require(same, "edges", other.edges.tolist(), f"must be {self.edges.tolist()}")
        self.counts.add_(other.counts)


class LogCounts(Accumulator, Counts):
    """Counts of the gaps of R replicas in fixed bins, usually logarithmic; see `log_counts`.

    Args:
        edges: ascending, shape (bins + 1,); a bin contains its lower edge.
        replicas: R.
        state: the ``metric_state`` of an earlier one, to continue from; changed in place.

    Raises:
        UsageError: the edges do not ascend, or ``state`` does not fit.

    >>> counts = LogCounts(torch.tensor([0.1, 1.0, 10.0]))
    >>> counts.update(torch.tensor([[0.5, 0.2, -3.0]])); counts.update(torch.tensor([[1.0]]))
    >>> counts.compute().tolist()
    [[2, 1]]
    """

    core: ClassVar[Callable[..., Counts]] = Counts

    def __init__(self, edges: Tensor, replicas: int = 1, state: States | None = None) -> None:
        ascend = edges.ndim == 1 and len(edges) >= 2 and bool((edges.diff() > 0).all())
        require(ascend, "edges", edges.tolist(), "must be two or more, ascending")
        counts = torch.zeros(replicas, len(edges) - 1, dtype=torch.int64)
        super().__init__({"counts": counts, "edges": edges.double().clone()}, state)

    @property
    def shape_of_values(self) -> tuple[int | None, ...]:
        """(R, n)."""
        return self.counts.shape[0], None

    def compute(self) -> Tensor:
        """Return the counts, (R, bins)."""
        return self.counts
