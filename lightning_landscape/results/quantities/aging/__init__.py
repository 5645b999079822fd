"""Aging: correlation C and displacement Delta of two times."""

from lightning_landscape.results.quantities.aging.panels import two_times
from lightning_landscape.results.quantities.aging.result import Aging

__all__ = ["Aging", "two_times"]
