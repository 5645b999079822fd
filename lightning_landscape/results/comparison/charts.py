"""Curves of a record as numbers, which several runs can draw on the same axes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Chart", "Curve", "Frame", "few"]

Array = NDArray[np.float64]


class Frame(NamedTuple):
    """The axes of a chart. Charts share a panel where name, frame and system are equal.

    Attributes:
        x: the label of the x axis, with its unit.
        y: the label of the y axis.
        xscale: ``linear``, ``log`` or ``symlog``.
        yscale: likewise.
        guide: a law that all of them are compared with: ``diagonal`` for y = x, ``zero`` for
            y = 0, or the empty string.
        guide_label: what the guide is.
        linear_below: of a ``symlog`` axis.
    """

    x: str
    y: str
    xscale: str = "log"
    yscale: str = "linear"
    guide: str = ""
    guide_label: str = ""
    linear_below: float = 1.0


@dataclass(frozen=True)
class Curve:
    """Points with error bars, and the exact curve if one is known.

    Attributes:
        x: shape (n,).
        y: shape (n,).
        error: standard errors, shape (n,); nan for none.
        exact: what theory says at ``x``, shape (n,), or None.
        label: what tells the curve from others of the run, such as its waiting time.
    """

    x: ArrayLike
    y: ArrayLike
    error: ArrayLike | None = None
    exact: ArrayLike | None = None
    label: str = ""


@dataclass(frozen=True)
class Chart:
    """What a run contributes to a panel of a comparison.

    Attributes:
        name: of the panel; charts of other runs with this name, frame and system join it.
        frame: its axes.
        curves: at most three are drawn, evenly spread, the last one included.
        system: what the numbers with a unit depend on; empty where there is none. Only charts of
            one system share a panel.
    """

    name: str
    frame: Frame
    curves: list[Curve] = field(default_factory=list)
    system: str = ""


def few(curves: list[Curve], most: int) -> list[Curve]:
    """Return at most ``most`` curves, evenly spread, the last one included."""
    if len(curves) <= most:
        return curves
    if most == 1:
        return curves[-1:]
    return [curves[round(k)] for k in np.linspace(0, len(curves) - 1, most)]
