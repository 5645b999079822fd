"""A histogram whose range is not known beforehand."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["GrowingHistogram"]


class GrowingHistogram:
    """Counts in equal bins, for each of R series, with edges that all share.

    The first values set the bins; when others fall outside, bins merge in pairs and the range
    doubles, so that no value is ever lost and none has to be kept.

    Args:
        replicas: R.
        bins: their number, even.
        state: tensors of an earlier one, to go on from.

    Attributes:
        state: the tensors that it consists of.

    >>> histogram = GrowingHistogram(1, bins=4)
    >>> histogram.add(torch.tensor([[0.0], [1.0]])); histogram.add(torch.tensor([[6.0]]))
    >>> histogram.counts.flatten().tolist(), histogram.edges().tolist()
    ([2, 0, 0, 1], [-0.5, 1.5, 3.5, 5.5, 7.5])
    """

    def __init__(
        self, replicas: int, bins: int = 512, state: dict[str, Tensor] | None = None
    ) -> None:
        require(bins >= 2 and bins % 2 == 0, "bins", bins, "must be even and at least 2")
        self.bins = bins
        self.state = state or {
            "counts": torch.zeros(bins, replicas, dtype=torch.int64),
            "low": torch.tensor(0.0, dtype=torch.float64),
            "width": torch.tensor(0.0, dtype=torch.float64),
        }

    @property
    def counts(self) -> Tensor:
        """The counts, (bins, R)."""
        return self.state["counts"]

    def edges(self) -> Tensor:
        """Return the edges of the bins, (bins + 1,)."""
        steps = torch.arange(self.bins + 1, dtype=torch.float64)
        return self.state["low"] + self.state["width"] * steps

    def add(self, values: Tensor) -> None:
        """Take in values, shape (n, R), all finite."""
        x = values.double()
        low, high = x.min().item(), x.max().item()
        if self.state["width"] == 0:
            self._place(low, high)
        self._grow(low, high)
        bin_ = ((x - self.state["low"]) / self.state["width"]).long().clamp(0, self.bins - 1)
        R = x.shape[1]
        flat = (bin_ * R + torch.arange(R)).flatten()
        self.state["counts"] += torch.bincount(flat, minlength=self.bins * R).view(self.bins, R)

    def merge(self, other: GrowingHistogram) -> None:
        """Add the counts of another histogram of R series.

        Bins of two histograms need not fit: the values of one of the other's go where its middle
        lies, half of the wider bin off at most. No count is lost.
        """
        occupied = other.counts.any(1).nonzero().flatten()
        if not len(occupied):
            return
        if self.state["width"] == 0:
            for name, value in other.state.items():
                self.state[name].copy_(value)
            return
        edges = other.edges()
        middles = (edges[:-1] + edges[1:])[occupied] / 2
        self._grow(middles[0].item(), middles[-1].item())
        bin_ = ((middles - self.state["low"]) / self.state["width"]).long().clamp(0, self.bins - 1)
        self.state["counts"].index_add_(0, bin_, other.counts[occupied])

    def _place(self, low: float, high: float) -> None:
        """Give the first values the middle of twice their range."""
        span = max(high - low, 1e-9 * abs(low), 1e-300)
        self.state["width"].fill_(2 * span / self.bins)
        self.state["low"].fill_((low + high) / 2 - span)

    def _grow(self, low: float, high: float) -> None:
        width, counts = self.state["width"], self.state["counts"]
        half = self.bins // 2
        while True:
            below = low < self.state["low"]
            if not below and high < self.state["low"] + self.bins * width:
                return
            paired = counts.view(half, 2, -1).sum(1)
            counts.zero_()
            if below:
                self.state["low"] -= self.bins * width
                counts[half:] = paired
            else:
                counts[:half] = paired
            width *= 2
