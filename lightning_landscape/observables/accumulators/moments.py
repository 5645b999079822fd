"""Moments of a series that is never stored: they merge exactly, and blocks give error bars.

The moments of a sample are one float64 tensor (5, …): the count, the mean, and the sums of the
second, third and fourth powers of deviations from the mean.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["BlockMoments", "excess_kurtosis", "mean", "merge", "moments_of", "skewness", "variance"]

Statistic = Callable[[Tensor], Tensor]
"""From moments (5, …) to a number for each of …"""


def moments_of(values: Tensor) -> Tensor:
    """Return the moments of ``values``, shape (n, …), over the first axis: (5, …)."""
    x = values.double()
    centre = x.mean(0)
    d = x - centre
    square = d * d
    sums = [square.sum(0), (square * d).sum(0), (square * square).sum(0)]
    return torch.stack([torch.full_like(centre, len(x)), centre, *sums])


def merge(parts: Tensor) -> Tensor:
    r"""Return the moments of the union of samples, (5, …), from those of its parts, (5, B, …).

    Every part is shifted to the common mean, :math:`M_4 = \sum M_{4,i} + 4 \delta_i M_{3,i} + 6
    \delta_i^2 M_{2,i} + n_i \delta_i^4`, and likewise below: exact, and without the cancellation
    of sums of powers. Parts without samples count nothing.

    Source: Chan, Golub, LeVeque 1983, Am. Stat. 37, 242, to fourth order.

    >>> x = torch.arange(10.0)
    >>> both = torch.stack([moments_of(x[:3]), moments_of(x[3:])], dim=1)
    >>> merge(both).allclose(moments_of(x))
    True
    """
    n, m, M2, M3, M4 = parts
    total = n.sum(0)
    centre = (n * m).sum(0) / total.clamp(min=1)
    d = torch.where(n > 0, m - centre, 0.0)
    second = (M2 + n * d**2).sum(0)
    third = (M3 + 3 * d * M2 + n * d**3).sum(0)
    fourth = (M4 + 4 * d * M3 + 6 * d**2 * M2 + n * d**4).sum(0)
    return torch.stack([total, centre, second, third, fourth])


def mean(moments: Tensor) -> Tensor:
    """Return the mean; nan of no samples."""
    return torch.where(moments[0] > 0, moments[1], torch.nan)


def variance(moments: Tensor) -> Tensor:
    """Return M2 / (n - 1), the variance of independent samples without bias."""
    return moments[2] / (moments[0] - 1)


def skewness(moments: Tensor) -> Tensor:
    """Return the third cumulant over the 3/2 power of the second."""
    n, _, M2, M3, _ = moments
    return n.sqrt() * M3 / M2**1.5


def excess_kurtosis(moments: Tensor) -> Tensor:
    """Return the fourth cumulant over the square of the second: 0 of a Gaussian."""
    n, _, M2, _, M4 = moments
    return n * M4 / M2**2 - 3


class BlockMoments:
    """Moments of successive blocks of equal length, at most ``blocks`` of them.

    When they are full, neighbours merge and blocks become twice as long: the memory is 5 x blocks
    x R numbers whatever the length of the series, and a block is always between 1/blocks and
    2/blocks of it. Error bars by leaving out one block at a time hold where a block is much longer
    than the autocorrelation time (see `Blocking`); drift is seen in the means of the blocks.

    Args:
        shape: of one value, for example (R,).
        chunk: how many values `add` gets at a time.
        blocks: the most blocks, even.
        state: tensors of an earlier one, to go on from.

    Attributes:
        state: the tensors that it consists of.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        chunk: int,
        blocks: int = 32,
        state: dict[str, Tensor] | None = None,
    ) -> None:
        even = blocks >= 2 and blocks % 2 == 0
        require(even, "blocks", blocks, "must be even and at least 2")
        require(chunk >= 1, "chunk", chunk, "must be at least 1")
        self.chunk = chunk
        self.state = state or {
            "moments": torch.zeros(5, blocks, *shape, dtype=torch.float64),
            "length": torch.tensor(chunk),
            "complete": torch.tensor(0),
        }

    def add(self, values: Tensor) -> None:
        """Take in the next ``chunk`` values of the series, shape (chunk, …)."""
        rows = f"must be chunk = {self.chunk}"
        require(len(values) == self.chunk, "len(values)", len(values), rows)
        blocks, k = self.state["moments"], int(self.state["complete"])
        blocks[:, k] = merge(torch.stack([blocks[:, k], moments_of(values)], 1))
        if blocks[0, k].flatten()[0] < self.length:
            return
        self.state["complete"] += 1
        if k + 1 == blocks.shape[1]:
            half = (k + 1) // 2
            paired = merge(blocks.unflatten(1, (half, 2)).transpose(1, 2).contiguous())
            blocks.zero_()[:, :half] = paired
            self.state["length"] *= 2
            self.state["complete"].fill_(half)

    @property
    def length(self) -> int:
        """How many values a block has."""
        return int(self.state["length"])

    @property
    def complete(self) -> Tensor:
        """The moments of the blocks that are complete, (5, B, …)."""
        return self.state["moments"][:, : int(self.state["complete"])]

    def total(self, rest: Tensor | None = None) -> Tensor:
        """Return the moments of all values, (5, …), and of ``rest``, (n, …), that are not added."""
        parts = self.state["moments"]
        if rest is not None and len(rest):
            parts = torch.cat([parts, moments_of(rest)[:, None]], 1)
        return merge(parts)

    def error(self, statistic: Statistic) -> Tensor:
        """Return the standard error of a statistic, leaving out one block at a time; (…).

        Source: Efron, Stein 1981, Ann. Statist. 9, 586. nan with fewer than four blocks.
        """
        blocks = self.complete
        B = blocks.shape[1]
        if B < 4:
            return torch.full(blocks.shape[2:], torch.nan, dtype=torch.float64)
        kept = (1 - torch.eye(B, dtype=torch.float64)).view(B, B, *[1] * (blocks.ndim - 2))
        counts_and_sums = blocks[:, :, None] * kept
        counts_and_sums[1] = blocks[1][:, None]  # means are no sums
        without = statistic(merge(counts_and_sums))
        return ((B - 1) / B * (without - without.mean(0)).square().sum(0)).sqrt()

    def drift(self) -> tuple[Tensor, Tensor]:
        """Return how far the mean moves from one end of the blocks to the other, and its error.

        A straight line through the means of the blocks, with the standard error that their
        scatter around it gives; both (…). A series is stationary over the window as far as can be
        seen where the drift is within two errors. nan with fewer than four blocks.
        """
        means = self.complete[1]
        B = len(means)
        if B < 4:
            unknown = torch.full(means.shape[1:], torch.nan, dtype=torch.float64)
            return unknown, unknown
        t = torch.arange(B, dtype=torch.float64) - (B - 1) / 2
        slope = torch.tensordot(t, means, 1) / t.square().sum()
        residual = means - means.mean(0) - t.view(-1, *[1] * (means.ndim - 1)) * slope
        error = (residual.square().sum(0) / (B - 2) / t.square().sum()).sqrt()
        return (B - 1) * slope, (B - 1) * error
