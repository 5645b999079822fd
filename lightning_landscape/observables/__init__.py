"""Observables: pure functions of tensors, replica axis kept, and metrics that accumulate.

The accumulators are imported when they are first used: torchmetrics takes more than a second.
"""

from importlib import import_module
from typing import Any

from lightning_landscape.observables.correlation import displacement, overlap, replica_overlaps
from lightning_landscape.observables.dimension import Sketch, participation_ratio
from lightning_landscape.observables.equilibration import gelman_rubin, two_starts
from lightning_landscape.observables.exponents import fit_power_law, fit_size_law
from lightning_landscape.observables.fluctuations import configurational_temperature_ratio
from lightning_landscape.observables.gaps import classification_gaps
from lightning_landscape.observables.gradient_noise import *  # noqa: F403
from lightning_landscape.observables.gradient_noise import __all__ as _gradient_noise
from lightning_landscape.observables.learning_coefficient import learning_coefficient
from lightning_landscape.observables.response import (
    copy_distance,
    effective_temperature,
    field_response,
    noise_response,
)
from lightning_landscape.observables.stationarity import (
    Balance,
    balance,
    yaida_fdr1,
    yaida_fdr2,
)
from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.observables.synonym_invariance import synonym_sensitivity

_ACCUMULATORS = {
    "BlockMoments": "moments",
    "Blocking": "autocorrelation",
    "EnergySeries": "series",
    "GrowingHistogram": "histogram",
    "LogCounts": "histogram",
    "PowerSpectrum": "power_spectrum",
}

__all__ = [
    "Balance",
    "Sketch",
    "balance",
    "classification_gaps",
    "configurational_temperature_ratio",
    "copy_distance",
    "displacement",
    "effective_temperature",
    "field_response",
    "fit_power_law",
    "fit_size_law",
    "gelman_rubin",
    "learning_coefficient",
    "mean_and_error",
    "noise_response",
    "overlap",
    "participation_ratio",
    "replica_overlaps",
    "synonym_sensitivity",
    "two_starts",
    "yaida_fdr1",
    "yaida_fdr2",
    *_ACCUMULATORS,
    *_gradient_noise,
]


def __getattr__(name: str) -> Any:
    if name in _ACCUMULATORS:
        home = f"{__name__}.accumulators.{_ACCUMULATORS[name]}"
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
