"""Unordered tuples of indices, and the monomials they stand for.

An unordered d-tuple is written sorted, i_1 <= i_2 <= ... <= i_d, repetitions allowed. The tuples
are numbered colexicographically: those with a smaller largest index come first, and i_1 runs
fastest. Then the tuples of the first m variables are the first `count(m, d)` of them whatever N
is, those with the largest index m are one block, and that block looks like the (d-1)-tuples up to
m: every recursion over d is a recursion over prefixes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["count", "derivatives", "monomials", "permutations", "tuples"]


def count(N: int, d: int) -> int:
    """Return how many unordered d-tuples N indices have, C(N + d - 1, d).

    >>> count(512, 2)
    131328
    """
    return math.comb(N + d - 1, d)


def tuples(N: int, d: int) -> Tensor:
    """Return all unordered d-tuples of 0 … N-1, shape (d, count(N, d)), int64.

    >>> tuples(3, 2)
    tensor([[0, 0, 1, 0, 1, 2],
            [0, 1, 1, 2, 2, 2]])
    """
    if d == 1:
        return torch.arange(N).unsqueeze(0)
    sizes = torch.tensor([count(m + 1, d - 1) for m in range(N)])
    largest = torch.arange(N).repeat_interleave(sizes)
    place_in_block = torch.arange(len(largest)) - (sizes.cumsum(0) - sizes)[largest]
    return torch.cat([tuples(N, d - 1)[:, place_in_block], largest.unsqueeze(0)])


def permutations(indices: Tensor) -> Tensor:
    """Return how many permutations leave each tuple as it is, shape (n,).

    That is prod_i c_i! where i occurs c_i times; the tuple has d! / prod_i c_i! orderings.

    Args:
        indices: sorted tuples, shape (d, n).

    >>> permutations(tuples(2, 3))
    tensor([6, 2, 2, 6])
    """
    run = product = torch.ones_like(indices[0])
    for before, here in pairwise(indices):
        run = torch.where(here == before, run + 1, 1)
        product = product * run
    return product


def monomials(indices: Tensor, x: Tensor) -> Tensor:
    """Return x_{i_1} … x_{i_d} for each tuple.

    Args:
        indices: tuples, shape (d, n).
        x: variables first, shape (N, ...).

    Returns:
        shape (n, ...).
    """
    product = x.index_select(0, indices[0])
    for index in indices[1:]:
        product.mul_(x.index_select(0, index))
    return product


def derivatives(indices: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """Return the derivative of `monomials` along ``v``, by the product rule.

    Args:
        indices: tuples, shape (d, n).
        x: where, shape (N, ...).
        v: the direction, shape (N, ...).

    Returns:
        shape (n, ...).
    """
    product, slope = x.index_select(0, indices[0]), v.index_select(0, indices[0])
    for index in indices[1:]:
        factor = x.index_select(0, index)
        slope = slope.mul_(factor).addcmul_(product, v.index_select(0, index))
        product.mul_(factor)
    return slope
