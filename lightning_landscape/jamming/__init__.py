"""Jamming: where networks stop to fit, found by training many of them from scratch."""

from lightning_landscape.jamming.experiment import Experiment
from lightning_landscape.jamming.family import Family
from lightning_landscape.jamming.studies import Scan, Study, Transition

__all__ = ["Experiment", "Family", "Scan", "Study", "Transition"]
