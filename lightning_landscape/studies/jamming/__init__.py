"""Jamming: when networks, many of them trained from scratch, can no longer fit their data."""

from lightning_landscape.studies.jamming.critical import CriticalLoad, CriticalWidth
from lightning_landscape.studies.jamming.family import Family
from lightning_landscape.studies.jamming.perturbation import DataPerturbation
from lightning_landscape.studies.jamming.plan import Plan, Scan
from lightning_landscape.studies.jamming.study import Jamming

__all__ = [
    "CriticalLoad",
    "CriticalWidth",
    "DataPerturbation",
    "Family",
    "Jamming",
    "Plan",
    "Scan",
]
