"""Quantities of wide networks."""

from lightning_landscape.results.quantities.wide_networks import criticality, tangent_kernel

__all__ = ["criticality", "tangent_kernel"]
