r"""The autocorrelation time of a series that is never stored, and the error of its mean.

The integrated autocorrelation time of a stationary series is
:math:`\tau = 1 + 2 \sum_{k \ge 1} \rho_k`, in samples: n of them are worth n / tau independent
ones, and the error of their mean is :math:`\sqrt{\tau\,\mathrm{Var}/n}`. For an exponential decay
:math:`\rho_k = e^{-k/t}` it is 1/tanh(1/2t), about 2t.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Blocking"]

_LEVELS = 48


class Blocking:
    r"""Means over blocks of 1, 2, 4, … samples of a series: their variance at every length.

    The variance of block means times their length, over that of single samples, grows to tau
    where blocks are longer than all correlations. The length B that is used is the first with
    :math:`B^3 \ge 2 n \tau_B^2`, where the bias of short blocks and the noise of few are about
    the same. It is found for each replica by itself.

    It takes values in portions of any size, and keeps 4 x 48 x R numbers.

    Args:
        shape: of one value, for example (R,).
        state: tensors of an earlier one, to go on from.

    Attributes:
        state: the tensors that it consists of.

    Source: Flyvbjerg, Petersen 1989, J. Chem. Phys. 91, 461; the choice of B: Lee, Conduit, Nemec,
    Lopez Rios, Drummond 2011, Phys. Rev. E 83, 066706.

    >>> series = Blocking((1,))
    >>> series.add(torch.tensor([1.0, 1.0, -1.0, -1.0] * 500)[:, None])
    >>> round(series.level_times()[1].item(), 2)  # the means of pairs are 1 and -1
    2.0
    """

    def __init__(self, shape: tuple[int, ...], state: dict[str, Tensor] | None = None) -> None:
        self.state = state or {
            "moments": torch.zeros(3, _LEVELS, *shape, dtype=torch.float64),
            "unpaired": torch.zeros(_LEVELS, *shape, dtype=torch.float64),
            "has_unpaired": torch.zeros(_LEVELS, dtype=torch.bool),
        }

    def add(self, values: Tensor) -> None:
        """Take in the next values of the series, shape (n, …)."""
        x = values.double()
        for level in range(_LEVELS):
            if not len(x):
                return
            self._count(level, x)
            if self.state["has_unpaired"][level]:
                x = torch.cat([self.state["unpaired"][level][None], x])
            odd = len(x) % 2
            self.state["has_unpaired"][level] = bool(odd)
            if odd:
                self.state["unpaired"][level] = x[-1]
            pairs = x[: len(x) - odd]
            x = (pairs[0::2] + pairs[1::2]) / 2

    def merge(self, other: Blocking) -> None:
        """Add the blocks of another series, or of a stretch of this one, of the same mean.

        No block reaches from one into the other: what ``other`` has left unpaired on a level is
        counted there and not above.
        """
        _merge_(self.state["moments"], other.state["moments"])

    def _count(self, level: int, x: Tensor) -> None:
        centre = x.mean(0)
        more = torch.stack([torch.full_like(centre, len(x)), centre, (x - centre).square().sum(0)])
        _merge_(self.state["moments"][:, level], more)

    def level_times(self) -> Tensor:
        """Return tau as blocks of 2^k samples give it, for each k with two blocks: (K, …)."""
        variance, n = self._variances()
        lengths = _lengths(len(n), variance)
        return lengths * variance / variance[0]

    def _variances(self) -> tuple[Tensor, Tensor]:
        """Return the variances of block means (K, …) and the numbers of blocks (K, …)."""
        n, _, M2 = self.state["moments"]
        K = int((n.flatten(1)[:, 0] >= 2).sum())
        return M2[:K] / (n[:K] - 1), n[:K]

    def tau(self) -> tuple[Tensor, Tensor]:
        """Return tau in samples and its standard error, (…); nan where the series is too short.

        The error is that of a variance of so many block means, tau sqrt(2 / (blocks - 1)).
        """
        times, blocks = self._chosen()
        return times, times * (2 / (blocks - 1)).sqrt()

    def error(self) -> Tensor:
        """Return the standard error of the mean of the series, (…); nan where it is too short."""
        variance, n = self._variances()
        if not len(n):
            return torch.full(n.shape[1:], torch.nan, dtype=torch.float64)
        return (self._chosen()[0] * variance[0] / n[0]).sqrt()

    def _chosen(self) -> tuple[Tensor, Tensor]:
        """Return tau at the length that is used, and the number of blocks there."""
        variance, n = self._variances()
        shape = n.shape[1:]
        if not len(n):
            unknown = torch.full(shape, torch.nan, dtype=torch.float64)
            return unknown, unknown
        times = self.level_times()
        lengths = _lengths(len(n), variance)
        long_enough = (lengths**3 >= 2 * n[0] * times**2) & (n >= 4)
        first = long_enough.double().argmax(0, keepdim=True)  # of the first True
        chosen = times.gather(0, first)[0]
        known = long_enough.any(0)
        return torch.where(known, chosen, torch.nan), n.gather(0, first)[0]


def _merge_(into: Tensor, more: Tensor) -> None:
    """Merge numbers, means and squared deviations, (3, …), in place; Chan, Golub, LeVeque 1983."""
    n, mean, M2 = into
    weight = more[0] / (n + more[0]).clamp(min=1)
    d = more[1] - mean
    M2 += more[2] + d**2 * n * weight
    mean += d * weight
    n += more[0]


def _lengths(levels: int, like: Tensor) -> Tensor:
    lengths = 2.0 ** torch.arange(levels, dtype=torch.float64)
    return lengths.view(-1, *[1] * (like.ndim - 1))
