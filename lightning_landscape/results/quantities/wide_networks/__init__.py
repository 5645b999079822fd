"""Quantities of wide networks."""

from lightning_landscape.results.quantities.wide_networks import (
    criticality,
    initial_networks,
    kernel_motion,
    tangent_kernel,
)

__all__ = ["criticality", "initial_networks", "kernel_motion", "tangent_kernel"]
