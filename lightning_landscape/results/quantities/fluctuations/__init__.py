"""Fluctuations of U at a temperature: dimensions, curvature, displacement, and their models."""

from lightning_landscape.results.quantities.fluctuations.result import Fluctuations

__all__ = ["Fluctuations"]
