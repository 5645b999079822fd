"""FiniteSize: one configuration at several N, extrapolated to N = infinity."""

from lightning_landscape.studies.finite_size.law import Law, Limit, extrapolate
from lightning_landscape.studies.finite_size.study import FiniteSize

__all__ = ["FiniteSize", "Law", "Limit", "extrapolate"]
