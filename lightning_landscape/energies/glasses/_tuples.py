"""Unordered tuples of indices, and their monomials.

An unordered d-tuple is written sorted, i_1 <= i_2 <= ... <= i_d, with repetitions allowed. The
tuples are in colexicographic order: sorted by their largest index i_d, then by i_{d-1}, and so on;
i_1 runs fastest. So the tuples of the first m variables are the first `count(m, d)` ones for every
N, and those with largest index m form one block, in which the other indices run through the
(d-1)-tuples of 0 … m.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["count", "monomials", "pair_numbers", "permutations", "tuples"]


def count(N: int, d: int) -> int:
    """Return the number of unordered d-tuples of N indices, the binomial (N + d - 1 over d).

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
    if d <= 1:
        return torch.arange(N)[None, :] if d else torch.empty(0, 1, dtype=torch.int64)
    sizes = torch.tensor([count(m + 1, d - 1) for m in range(N)])
    largest = torch.arange(N).repeat_interleave(sizes)
    place_in_block = torch.arange(len(largest)) - (sizes.cumsum(0) - sizes)[largest]
    return torch.cat([tuples(N, d - 1)[:, place_in_block], largest.unsqueeze(0)])


def pair_numbers(N: int) -> Tensor:
    """Return the place of the unordered pair (i, j) among all pairs, shape (N, N), int64.

    >>> pair_numbers(3)
    tensor([[0, 1, 3],
            [1, 2, 4],
            [3, 4, 5]])
    """
    i = torch.arange(N)
    high, low = torch.maximum(i, i[:, None]), torch.minimum(i, i[:, None])
    return high * (high + 1) // 2 + low


def permutations(indices: Tensor) -> Tensor:
    """Return the number of permutations that leave each tuple unchanged, shape (n,), int64.

    That is prod_i c_i! where i occurs c_i times; the tuple has d! / prod_i c_i! orderings.

    Args:
        indices: sorted tuples, shape (d, n), d >= 1.

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
        indices: tuples, shape (d, n), d >= 1.
        x: variables first, shape (N, …).

    Returns:
        shape (n, …).

    >>> monomials(tuples(2, 2), torch.tensor([2, 3]))
    tensor([4, 6, 9])
    """
    product = x.index_select(0, indices[0])
    for index in indices[1:]:
        product.mul_(x.index_select(0, index))
    return product
