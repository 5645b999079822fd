"""Ensembles of trained networks: over depth, over width, and over the size of the data."""

from lightning_landscape.studies.ensembles.aspect_ratio import AspectRatio
from lightning_landscape.studies.ensembles.learning_curve import LearningCurve
from lightning_landscape.studies.ensembles.nearly_kernel import NearlyKernel

__all__ = ["AspectRatio", "LearningCurve", "NearlyKernel"]
