"""Jamming: when networks, many of them trained from scratch, can no longer fit their data."""

from lightning_landscape.studies.jamming.critical import CriticalLoad, CriticalWidth
from lightning_landscape.studies.jamming.experiment import Experiment
from lightning_landscape.studies.jamming.family import Family
from lightning_landscape.studies.jamming.perturbation import DataPerturbation
from lightning_landscape.studies.jamming.studies import Scan, Study

__all__ = [
    "CriticalLoad",
    "CriticalWidth",
    "DataPerturbation",
    "Experiment",
    "Family",
    "Scan",
    "Study",
]
