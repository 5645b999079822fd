"""Observables: pure functions of tensors, replica axis kept."""

from lightning_landscape.observables.accumulators.autocorrelation import Blocking
from lightning_landscape.observables.accumulators.moments import BlockMoments
from lightning_landscape.observables.accumulators.power_spectrum import PowerSpectrum
from lightning_landscape.observables.accumulators.series import EnergySeries
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
    temperature_of_sgd,
)
from lightning_landscape.observables.stationarity import (
    Balance,
    balance,
    yaida_fdr1,
    yaida_fdr2,
)
from lightning_landscape.observables.statistics import mean_and_error

__all__ = [
    "Balance",
    "BlockMoments",
    "Blocking",
    "EnergySeries",
    "PowerSpectrum",
    "Sketch",
    "balance",
    "classification_gaps",
    "copy_distance",
    "effective_temperature",
    "field_response",
    "noise_response",
    "temperature_of_sgd",
    "displacement",
    "yaida_fdr1",
    "fit_power_law",
    "fit_size_law",
    "gelman_rubin",
    "configurational_temperature_ratio",
    "learning_coefficient",
    "mean_and_error",
    "overlap",
    "participation_ratio",
    "replica_overlaps",
    "yaida_fdr2",
    "two_starts",
    *_gradient_noise,
]
