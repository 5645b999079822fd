"""Runs compared: on the same axes, in one table, and by a verdict on each quantity."""

from lightning_landscape.results.comparison.charts import Chart, Curve, Frame
from lightning_landscape.results.comparison.overlay import Overlay, colors, draw, overlays
from lightning_landscape.results.comparison.table import table
from lightning_landscape.results.comparison.verdict import Estimate, Verdict, verdicts

__all__ = [
    "Chart",
    "Curve",
    "Estimate",
    "Frame",
    "Overlay",
    "Verdict",
    "colors",
    "draw",
    "overlays",
    "table",
    "verdicts",
]
