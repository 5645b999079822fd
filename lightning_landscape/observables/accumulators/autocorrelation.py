r"""The autocorrelation time of a series that is never stored, and the error of its mean.

The integrated autocorrelation time of a stationary series is
`\tau = 1 + 2 \sum_{k \ge 1} \rho_k`, in samples: n of them are worth n / tau independent
ones, and the error of their mean is `\sqrt{\tau\,\mathrm{Var}/n}`. For an exponential decay
`\rho_k = e^{-k/t}` it is 1/tanh(1/2t), about 2t.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lightning_landscape.observables.accumulators.accumulator import Accumulator, States

__all__ = ["Blocking", "Levels", "empty_levels"]

_LEVELS = 48
_FEWEST = 6  # blocks: the posterior of a variance with 5 degrees of freedom has a second moment


class Levels:
    """Means over blocks of 1, 2, 4, … samples, and the autocorrelation time that they give.

    Attributes:
        moments: number, mean and sum of squared deviations of block means, (3, levels, …).
        unpaired: the block of each level that waits for its neighbour, (levels, …).
        has_unpaired: whether there is one, (levels,).
    """

    def __init__(self, moments: Tensor, unpaired: Tensor, has_unpaired: Tensor) -> None:
        self.moments, self.unpaired, self.has_unpaired = moments, unpaired, has_unpaired

    def add(self, values: Tensor) -> None:
        """Take in the next values of the series, shape (n, …)."""
        x = values.to(self.moments)
        for level in range(_LEVELS):
            if not len(x):
                return
            self._count(level, x)
            if self.has_unpaired[level]:
                x = torch.cat([self.unpaired[level][None], x])
            odd = len(x) % 2
            self.has_unpaired[level] = bool(odd)
            if odd:
                self.unpaired[level] = x[-1]
            pairs = x[: len(x) - odd]
            x = (pairs[0::2] + pairs[1::2]) / 2

    def merge(self, other: Levels) -> None:
        """Add the blocks of a later stretch of the series, or of another one with the same mean.

        No block reaches from one into the other: what ``other`` has left unpaired on a level is
        counted there and not above.
        """
        _merge_(self.moments, other.moments)

    def _count(self, level: int, x: Tensor) -> None:
        centre = x.mean(0)
        more = torch.stack([torch.full_like(centre, len(x)), centre, (x - centre).square().sum(0)])
        _merge_(self.moments[:, level], more)

    def level_times(self) -> Tensor:
        """Return tau as blocks of 2^k samples give it, for each k with two blocks: (K, …)."""
        variance, n = self._variances(fewest=2)
        return _lengths(n) * variance / variance[:1]

    def tau(self) -> tuple[Tensor, Tensor]:
        r"""Return tau in samples and its standard error, (…); nan of fewer than six samples.

        With nu = blocks - 1 degrees of freedom and tau_B the estimate, the error is

            tau_B nu/(nu - 2) sqrt(2 / (nu - 4)),

        the standard deviation of the posterior tau_B nu / chi^2_nu, which is wider than
        tau_B sqrt(2/nu) where blocks are few: two errors hold the true value in 90 to 96 % of
        series of 25, 100 or 1000 tau. Where `is_lower_bound` holds, tau_B is on average too small:
        by 20 % at 25 tau.
        """
        times, blocks, _ = self._chosen()
        nu = blocks - 1
        return times, times * nu / (nu - 2) * (2 / (nu - 4)).sqrt()

    def is_lower_bound(self) -> Tensor:
        """Return where the series is too short for tau to have stopped growing with B, (…), bool.

        That is where no length of at least six blocks satisfies B^3 >= 2 n tau_B^2. Then tau and
        the error of the mean are those of the longest such blocks, and are lower bounds. So it is
        in nine of ten series of 10 tau, in about six of ten of 25, and in none of 100.
        """
        return ~self._chosen()[2]

    def error(self) -> Tensor:
        """Return the standard error of the mean of the series, (…); nan of fewer than six samples.

        It is sqrt(tau_B Var / n) times sqrt(nu / (nu - 2)), the standard deviation of Student's
        t with nu degrees of freedom: two errors hold the mean in 93 to 95 % of series of 25, 100
        or 1000 tau.
        """
        variance, n = self._variances(fewest=2)
        if not len(n):
            return self._unknown()
        times, blocks, _ = self._chosen()
        nu = blocks - 1
        return (times * nu / (nu - 2) * variance[0] / n[0]).sqrt()

    def _variances(self, fewest: int) -> tuple[Tensor, Tensor]:
        """Return the variances of block means (K, …) and the numbers of blocks (K, …)."""
        n, _, M2 = self.moments
        K = int((n.reshape(_LEVELS, -1)[:, 0] >= fewest).sum())
        return M2[:K] / (n[:K] - 1), n[:K]

    def _chosen(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return tau_B, the number of blocks of length B, and whether B is long enough; (…)."""
        variance, n = self._variances(_FEWEST)
        if not len(n):
            return self._unknown(), self._unknown(), self._unknown() > 0
        lengths = _lengths(n)
        times = lengths * variance / variance[0]
        long_enough = lengths**3 >= 2 * n[0] * times**2
        known = long_enough.any(0)
        level = torch.where(known, long_enough.double().argmax(0), len(n) - 1)[None]
        return times.gather(0, level)[0], n.gather(0, level)[0], known

    def _unknown(self) -> Tensor:
        return torch.full_like(self.unpaired[0], torch.nan)


class Blocking(Accumulator, Levels):
    r"""The autocorrelation time of a series, from block means of 1, 2, 4, … samples.

    The variance of block means times their length, over that of single samples, grows to tau
    where blocks are longer than all correlations,

        tau_B = B Var(means of B) / Var = tau - (2/B) sum_k k rho_k + …

    The length B that is used is the first with `B^3 \ge 2 n \tau_B^2` and at least six
    blocks, where the bias of short blocks and the noise of few are about the same. It is found
    for each replica separately. A series of less than about 50 tau may have no such length: then
    tau comes from the longest blocks, and `is_lower_bound` says so.

    It takes values in portions of any size, and keeps 4 x 48 x R numbers.

    Args:
        shape: of one value: () for a number, (R,) for R replicas.
        state: the ``metric_state`` of an earlier one, to continue from; changed in place.

    Raises:
        UsageError: ``state`` does not fit ``shape``.

    Source: Flyvbjerg, Petersen 1989, J. Chem. Phys. 91, 461; the choice of B: Lee, Conduit, Nemec,
    Lopez Rios, Drummond 2011, Phys. Rev. E 83, 066706.

    >>> series = Blocking()
    >>> series.update(torch.tensor([1.0, 1.0, -1.0, -1.0] * 500))
    >>> round(series.level_times()[1].item(), 2)  # the means of pairs are 1 and -1
    2.0
    """

    core: ClassVar[Callable[..., Levels]] = Levels

    def __init__(self, shape: tuple[int, ...] = (), state: States | None = None) -> None:
        super().__init__(empty_levels(shape), state)

    @property
    def shape_of_values(self) -> tuple[int | None, ...]:
        """(n, …)."""
        return None, *self.moments.shape[2:]

    def compute(self) -> Tensor:
        """Return tau in samples, (…)."""
        return self.tau()[0]


def empty_levels(shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Return the tensors of `Levels` before the first value."""
    return {
        "moments": torch.zeros(3, _LEVELS, *shape, dtype=torch.float64),
        "unpaired": torch.zeros(_LEVELS, *shape, dtype=torch.float64),
        "has_unpaired": torch.zeros(_LEVELS, dtype=torch.bool),
    }


def _merge_(into: Tensor, more: Tensor) -> None:
    """Merge numbers, means and squared deviations, (3, …), in place; Chan, Golub, LeVeque 1983."""
    n, mean, M2 = into
    weight = more[0] / (n + more[0]).clamp(min=1)
    d = more[1] - mean
    M2 += more[2] + d**2 * n * weight
    mean += d * weight
    n += more[0]


def _lengths(blocks: Tensor) -> Tensor:
    """Return the lengths 1, 2, 4, … of as many levels, to multiply (K, …)."""
    lengths = 2.0 ** torch.arange(len(blocks)).to(blocks)
    return lengths.view(-1, *[1] * (blocks.ndim - 1))
