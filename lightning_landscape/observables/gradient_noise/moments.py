"""Mean and variance of many gradients, accumulated in portions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape import parallel

__all__ = ["Moments"]


@dataclass
class Moments:
    """Mean and spread of gradients that come in portions; the portions merge in any order.

    Merging follows Chan, Golub and LeVeque, The American Statistician 37, 242 (1983): squares are
    summed about the mean, never about zero.

    Attributes:
        count: how many gradients.
        mean: their mean, shape (R, N), float64.
        squares: their summed squared deviations from it, shape (R, N), float64.

    >>> portions = [Moments.of(g) for g in torch.arange(6.0).view(2, 3, 1, 1)]
    >>> portions[0].merged(portions[1]).variance
    tensor([[3.5000]], dtype=torch.float64)
    """

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, gradients: Tensor) -> Moments:
        """Return the moments of gradients (n, R, N)."""
        # two passes, so single precision is enough for a portion; the merging is in double
        mean = gradients.mean(0)
        squares = (gradients - mean).square_().sum(0)
        return cls(len(gradients), mean.double(), squares.double())

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both portions together."""
        count = self.count + other.count
        step = other.mean - self.mean
        squares = self.squares + other.squares
        squares.addcmul_(step, step, value=self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), squares)

    def over_ranks(self) -> Moments:
        """Return the moments of the gradients of all ranks together; every rank must call it."""
        if parallel.count() == 1:
            return self
        own = torch.tensor(float(self.count), dtype=torch.float64, device=self.mean.device)
        count = parallel.sum(own)
        mean = parallel.sum(self.count * self.mean) / count
        squares = parallel.sum(self.squares + self.count * (self.mean - mean).square())
        return Moments(int(count), mean, squares)

    @property
    def variance(self) -> Tensor:
        """The diagonal of S: squares / (count - 1), shape (R, N)."""
        return self.squares / (self.count - 1)
