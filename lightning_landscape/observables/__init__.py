"""Observables: pure functions of tensors, replica axis kept."""

from lightning_landscape.observables.correlation import displacement, overlap, replica_overlaps
from lightning_landscape.observables.curvature import *  # noqa: F403
from lightning_landscape.observables.curvature import __all__ as _curvature
from lightning_landscape.observables.statistics import mean_and_error

__all__ = ["displacement", "mean_and_error", "overlap", "replica_overlaps", *_curvature]
