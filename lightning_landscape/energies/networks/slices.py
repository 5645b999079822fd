"""Cutting a range into equal pieces."""

from __future__ import annotations

import math
from itertools import pairwise

__all__ = ["even_slices"]


def even_slices(total: int, most: int) -> list[slice]:
    """Cut 0 … total into the fewest pieces of at most ``most``, their sizes within one.

    >>> even_slices(10, most=4)
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    pieces = math.ceil(total / most)
    ends = [-(-total * k // pieces) for k in range(pieces + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]
