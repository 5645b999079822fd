"""The noise of mini-batches: its variance, covariance, shape and alignment with the curvature."""

from lightning_landscape.observables.gradient_noise.alignment import (
    Alignment,
    alignment,
    subspace_overlap,
)
from lightning_landscape.observables.gradient_noise.draws import (
    batch_factor,
    batch_kurtosis,
    temperature_of_sgd,
)
from lightning_landscape.observables.gradient_noise.moments import Moments
from lightning_landscape.observables.gradient_noise.sources import (
    GroupGradients,
    SampleGradients,
    gradients_of,
)

__all__ = [
    "Alignment",
    "GroupGradients",
    "Moments",
    "SampleGradients",
    "alignment",
    "batch_factor",
    "batch_kurtosis",
    "gradients_of",
    "subspace_overlap",
    "temperature_of_sgd",
]
