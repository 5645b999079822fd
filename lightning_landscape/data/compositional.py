"""A function of many variables that is composed of functions of few."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import require_whole
from lightning_landscape.rng import Stream

__all__ = ["SparseCompositional"]


class SparseCompositional(LabelledData):
    r"""The sign of a tree of random polynomials, each of only s variables.

    x ~ N(0, 1)^d with d = s^L. Level by level every s neighbours are combined to

    .. math:: h(u) = \sum_i a_i u_i + \sum_{i < j} b_{ij} u_i u_j, \quad |a|^2 + |b|^2 = 1,

    with the same random a, b at all places of a level. Different branches are independent, so that
    every h has mean 0 and variance 1. The class is 1 where the root is positive. A deep network
    whose layers follow the tree needs functions of s variables only, a shallow one the polynomial
    of degree 2^L in d variables.

    Sample mu is a function of (seed, mu); a smaller training set is the beginning of a larger one.
    Memory: 4 d bytes a sample.

    Source: Poggio, Mhaskar, Rosasco, Miranda & Liao 2017, arXiv:1611.00740, for compositional
    functions; the polynomials are chosen here.

    Args:
        L: levels.
        s: variables of a polynomial.
        samples: P.
        test_samples: how many more are held out.
        seed: of the polynomials and the samples.

    Attributes:
        coefficients: a and then b of each level, the lowest first, shape (L, s (s + 1) / 2).

    Raises:
        UsageError: a number is out of range.

    >>> data = SparseCompositional(L=3, samples=1000)
    >>> data.inputs.shape, bool(abs(data.root(data.inputs).std() - 1) < 0.2)
    (torch.Size([1000, 8]), True)
    """

    def __init__(
        self, L: int, s: int = 2, samples: int = 1024, test_samples: int = 1024, seed: int = 0
    ) -> None:
        for name, value, least in (("L", L, 1), ("s", s, 2)):
            require_whole(name, value, least)
        require_whole("samples", samples)
        require_whole("test_samples", test_samples)
        self.L, self.s = L, s
        normals = torch.empty(L, s * (s + 1) // 2)
        Stream(seed, "polynomials").normal_(normals, step=0)
        self.coefficients = normals / normals.norm(dim=1, keepdim=True)
        x, test = (
            Stream(seed, name).normal_(torch.empty(count, s**L), step=0)
            for name, count in (("samples", samples), ("test samples", test_samples))
        )
        y, test_y = ((self.root(each) > 0).long() for each in (x, test))
        super().__init__(x, y, test, test_y, classes=2)

    def root(self, x: Tensor) -> Tensor:
        """Return the value of the function, of which the class is the sign; (P, d) -> (P,)."""
        first, second = torch.triu_indices(self.s, self.s, offset=1)
        for c in self.coefficients:
            u = x.unflatten(1, (-1, self.s))
            x = u @ c[: self.s] + (u[..., first] * u[..., second]) @ c[self.s :]
        return x.squeeze(1)
