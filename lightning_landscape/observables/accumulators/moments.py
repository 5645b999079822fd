"""Moments of a series that is never stored: they merge exactly, and blocks give error bars.

The moments of a sample are one float64 tensor (5, …): the count, the mean, and the sums of the
second, third and fourth powers of the deviations from the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.observables.accumulators.accumulator import Accumulator, States

__all__ = [
    "BlockMoments",
    "Blocks",
    "empty_blocks",
    "excess_kurtosis",
    "mean",
    "merge",
    "moments_of",
    "skewness",
    "variance",
]

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

    Every part is shifted to the common mean, `M_4 = \sum M_{4,i} + 4 \delta_i M_{3,i} + 6
    \delta_i^2 M_{2,i} + n_i \delta_i^4`, and likewise below: exact, and without the cancellation
    of sums of powers. Parts without samples do not count.

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
    """Return the mean; nan where there are no samples."""
    return torch.where(moments[0] > 0, moments[1], torch.nan)


def variance(moments: Tensor) -> Tensor:
    """Return M2 / (n - 1), the unbiased variance of independent samples."""
    return moments[2] / (moments[0] - 1)


def skewness(moments: Tensor) -> Tensor:
    """Return the skewness, the third cumulant over the 3/2 power of the second."""
    n, _, M2, M3, _ = moments
    return n.sqrt() * M3 / M2**1.5


def excess_kurtosis(moments: Tensor) -> Tensor:
    """Return the excess kurtosis, the fourth cumulant over the square of the second."""
    n, _, M2, _, M4 = moments
    return n * M4 / M2**2 - 3


class Blocks:
    """Moments of successive blocks of equal length, and what they say of the whole series.

    Attributes:
        moments: of each block, (5, blocks, …); the one after the complete ones is being filled.
        length: the number of values that completes a block.
        complete: the number of complete blocks.
    """

    def __init__(self, moments: Tensor, length: Tensor, complete: Tensor) -> None:
        self.moments, self.length, self.complete = moments, length, complete

    def add(self, values: Tensor) -> None:
        """Take in the next values of the series, shape (n, …)."""
        start = 0
        while start < len(values):
            k, length = int(self.complete), int(self.length)
            room = length - int(self.moments[0, k].flatten()[0])
            part = moments_of(values[start : start + room].to(self.moments))
            self.moments[:, k] = merge(torch.stack([self.moments[:, k], part], 1))
            if len(values) - start >= room:
                self.complete.add_(1)
                if k + 1 == self.moments.shape[1]:
                    pairs, _ = _paired(self.moments)
                    self._set(pairs, torch.zeros_like(pairs[:, 0]), 2 * length)
            start += room

    def merge(self, other: Blocks) -> None:
        """Append the blocks of a later stretch of the series, or of another one like it.

        Neighbours merge until all blocks have the length of the longest; values that then fill no
        block go into one together.

        Raises:
            UsageError: the lengths of the blocks differ by a factor that is not a power of two.
        """
        length = max(int(self.length), int(other.length))
        (blocks, rest), (more, others_rest) = (x._lengthened(length) for x in (self, other))
        blocks, rest = torch.cat([blocks, more], 1), merge(torch.stack([rest, others_rest], 1))
        blocks, rest = _with_full(blocks, rest, length)
        while blocks.shape[1] >= self.moments.shape[1]:
            pairs, odd = _paired(blocks)
            length *= 2
            blocks, rest = _with_full(pairs, merge(torch.cat([rest[:, None], odd], 1)), length)
        self._set(blocks, rest, length)

    def _set(self, blocks: Tensor, rest: Tensor, length: int) -> None:
        """Replace the contents by complete blocks and one that is being filled."""
        B = blocks.shape[1]
        self.moments.zero_()[:, :B] = blocks
        self.moments[:, B] = rest
        self.length.fill_(length)
        self.complete.fill_(B)

    def _lengthened(self, length: int) -> tuple[Tensor, Tensor]:
        """Return the blocks merged to this length, and the moments of what fills none."""
        k, own = int(self.complete), int(self.length)
        blocks, rest = self.moments[:, :k], self.moments[:, k]
        factor, remainder = divmod(length, own)
        fits = remainder == 0 and factor & (factor - 1) == 0
        require(fits, "length", own, f"must be {length} over a power of two, to be merged")
        while own < length:
            blocks, odd = _paired(blocks)
            rest, own = merge(torch.cat([odd, rest[:, None]], 1)), 2 * own
        return blocks, rest

    def complete_blocks(self) -> Tensor:
        """Return the moments of the complete blocks, (5, B, …)."""
        return self.moments[:, : int(self.complete)]

    def total(self, rest: Tensor | None = None) -> Tensor:
        """Return the moments of all values, (5, …), and of ``rest``, (n, …), not yet added."""
        parts = self.moments
        if rest is not None and len(rest):
            parts = torch.cat([parts, moments_of(rest)[:, None]], 1)
        return merge(parts)

    def error(self, statistic: Statistic) -> Tensor:
        """Return the standard error of a statistic, leaving out one block at a time; (…).

        nan with fewer than four blocks.

        Source: Efron, Stein 1981, Ann. Statist. 9, 586.
        """
        blocks = self.complete_blocks()
        B = blocks.shape[1]
        if B < 4:
            return self._unknown()
        kept = (1 - torch.eye(B).to(blocks)).view(B, B, *[1] * (blocks.ndim - 2))
        counts_and_sums = blocks[:, :, None] * kept
        counts_and_sums[1] = blocks[1][:, None]  # means are not sums
        without = statistic(merge(counts_and_sums))
        return ((B - 1) / B * (without - without.mean(0)).square().sum(0)).sqrt()

    def drift(self) -> tuple[Tensor, Tensor]:
        """Return how far the mean moves from the first block to the last, and its error.

        A straight line is fitted to the means of the blocks; its error is that of their scatter
        around it; both (…). Within its resolution the series is stationary where the drift is
        below two errors. nan with fewer than four blocks. Of parallel series that were merged it
        says nothing.
        """
        means = self.complete_blocks()[1]
        B = len(means)
        if B < 4:
            return self._unknown(), self._unknown()
        t = torch.arange(B).to(means) - (B - 1) / 2
        slope = torch.tensordot(t, means, 1) / t.square().sum()
        residual = means - means.mean(0) - t.view(-1, *[1] * (means.ndim - 1)) * slope
        error = (residual.square().sum(0) / (B - 2) / t.square().sum()).sqrt()
        return (B - 1) * slope, (B - 1) * error

    def _unknown(self) -> Tensor:
        return torch.full_like(self.moments[0, 0], torch.nan)


def _paired(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Merge neighbours: return the pairs, and what is left over, none or one."""
    pairs = blocks.shape[1] // 2
    both = blocks[:, : 2 * pairs].unflatten(1, (pairs, 2)).transpose(1, 2).contiguous()
    return merge(both), blocks[:, 2 * pairs :]


def _with_full(blocks: Tensor, rest: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Count ``rest`` as a block where it is long enough."""
    if rest[0].flatten()[0] < length:
        return blocks, rest
    return torch.cat([blocks, rest[:, None]], 1), torch.zeros_like(rest)


class BlockMoments(Accumulator, Blocks):
    """Moments of a series, with error bars from blocks of equal length, at most ``blocks`` of them.

    When they are full, neighbours merge and blocks become twice as long: the memory is 5 x blocks
    x R numbers whatever the length of the series, and a block is always between 1/blocks and
    2/blocks of it. Error bars from leaving out one block at a time hold where a block is much
    longer than the autocorrelation time (see `Blocking`); `drift` is seen in the means of the
    blocks.

    Args:
        shape: of one value: () for a number, (R,) for R replicas.
        length: the number of values in a block at first.
        blocks: the largest number of blocks, even.
        statistic: what `compute` returns: `mean`, `variance`, `skewness`, `excess_kurtosis`, or
            any function of moments (5, …).
        state: the ``metric_state`` of an earlier one, to continue from; changed in place.

    Raises:
        UsageError: ``blocks`` or ``length`` is out of range, or ``state`` does not fit.

    >>> moments = BlockMoments(statistic=variance)
    >>> moments.update(torch.tensor([1.0, 2.0])); moments.update(torch.tensor([6.0]))
    >>> moments.compute()
    tensor(7., dtype=torch.float64)
    """

    core: ClassVar[Callable[..., Blocks]] = Blocks

    def __init__(
        self,
        shape: tuple[int, ...] = (),
        length: int = 1,
        blocks: int = 32,
        statistic: Statistic = mean,
        state: States | None = None,
    ) -> None:
        even = blocks >= 2 and blocks % 2 == 0
        require(even, "blocks", blocks, "must be even and at least 2")
        require(length >= 1, "length", length, "must be at least 1")
        super().__init__(empty_blocks(shape, length, blocks), state)
        self.statistic = statistic

    @property
    def shape_of_values(self) -> tuple[int | None, ...]:
        """(n, …)."""
        return None, *self.moments.shape[2:]

    def compute(self) -> Tensor:
        """Return the statistic of all values, (…)."""
        return self.statistic(self.total())


def empty_blocks(shape: tuple[int, ...], length: int, blocks: int = 32) -> dict[str, Tensor]:
    """Return the tensors of `Blocks` before the first value."""
    return {
        "moments": torch.zeros(5, blocks, *shape, dtype=torch.float64),
        "length": torch.tensor(length),
        "complete": torch.tensor(0),
    }
