"""Which normal number belongs to which element of which replica of which parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

__all__ = ["Addresses"]


class Addresses:
    """The addresses of the numbers in a flat buffer that is cut into parameters.

    The normal of element i of replica r of parameter k is a function of (key, k, r, i): number
    i % 4 of the Philox counter

        (i // 4, r, 0, k),

    where k is the position of the parameter and i counts through its slice ``p[r]``. It depends
    neither on the number of replicas nor on the shapes of other parameters, so any part of a
    system draws what the whole draws there. The parameter has a word of its own: were it an offset
    in i instead, the noise of a layer would change with the width of the layers before it.

    The replica is the first index of a parameter with two axes or more, as everywhere in this
    package; a vector or a scalar is the one slice r = 0. A foreign module has no replicas, and its
    weight of shape (out, in) is addressed in the same way, by its rows. Nothing has to tell the
    two apart, because each element has an address of its own either way.

    Four numbers are computed at once: a slice of one number costs as much as a slice of four.

    Args:
        shapes: of the parameters at hand.
        replicas: which replicas of the whole system these are, for parameters that all have two
            axes or more; None means 0, 1, …
        first: for parts of parameters, the index in the whole one at which each begins, along each
            axis; None means 0 for all. A part is cut along the first axis, or, if it is of one
            slice, along the second.

    Attributes:
        size: of the buffer.
        rows: the replicas that occur, uint32.
        parts: for each parameter with elements (k, index in ``rows`` of its first slice, number of
            slices, numbers in a slice, first counter), int64.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[int]],
        replicas: Sequence[int] | None = None,
        first: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._shapes = [tuple(shape) for shape in shapes]
        starts = [()] * len(shapes) if first is None else list(first)
        parts, self._cuts = [], []
        for k, (shape, start) in enumerate(zip(self._shapes, starts, strict=True)):
            vector = len(shape) < 2
            row, index = (0, *start, 0)[:2] if vector else (*start, 0, 0)[:2]
            element = index * math.prod(shape[2:])
            slices, before = 1 if vector else shape[0], element % 4
            assert slices == 1 or element == 0, "a part of several slices has whole ones"
            numbers = before + math.prod(shape if vector else shape[1:])
            parts.append((k, row, slices, numbers, element // 4))
            self._cuts += [before, slices * numbers - before]
        if replicas is None:
            replicas = range(max((row + slices for _, row, slices, _, _ in parts), default=0))
        self.rows = np.array(replicas, dtype=np.uint32)
        self.size = sum(self._cuts)
        self.parts = np.array([p for p in parts if p[2] * p[3]], np.int64).reshape(-1, 5)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Return the views of ``flat``, shape (size,), that belong to the parameters."""
        pieces = flat.split(self._cuts)[1::2]
        return [piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]
