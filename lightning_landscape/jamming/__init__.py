"""Jamming: where networks stop to fit, found by training many of them from scratch."""

from lightning_landscape.jamming.changes import Changes
from lightning_landscape.jamming.experiment import Experiment
from lightning_landscape.jamming.family import Family
from lightning_landscape.jamming.studies import Scan, Study
from lightning_landscape.jamming.transition import Transition, TransitionInWidth

__all__ = ["Changes", "Experiment", "Family", "Scan", "Study", "Transition", "TransitionInWidth"]
