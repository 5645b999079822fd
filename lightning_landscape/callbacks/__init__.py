"""Probes: Lightning callbacks that measure and never change the trajectory."""

from lightning_landscape.callbacks.aging import AgingCorrelation
from lightning_landscape.callbacks.damage import DamageSpreading
from lightning_landscape.callbacks.energy import EnergyRelaxation
from lightning_landscape.callbacks.equilibration import Equilibration
from lightning_landscape.callbacks.gaps import GapDistribution
from lightning_landscape.callbacks.gradient_noise import GradientNoise
from lightning_landscape.callbacks.hessian import HessianSpectrum
from lightning_landscape.callbacks.jamming import JammingHessian
from lightning_landscape.callbacks.learning_coefficient import LearningCoefficient
from lightning_landscape.callbacks.matched_noise import MatchedNoise
from lightning_landscape.callbacks.noise_spectrum import NoiseSpectrum
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.response import FieldResponse, LinearResponse
from lightning_landscape.callbacks.satisfied import StopWhenSatisfied
from lightning_landscape.callbacks.stationarity import Stationarity
from lightning_landscape.callbacks.temperature import TemperatureFluctuations

__all__ = [
    "AgingCorrelation",
    "DamageSpreading",
    "EnergyRelaxation",
    "Equilibration",
    "FieldResponse",
    "GapDistribution",
    "GradientNoise",
    "HessianSpectrum",
    "JammingHessian",
    "LearningCoefficient",
    "LinearResponse",
    "MatchedNoise",
    "NoiseSpectrum",
    "Probe",
    "Stationarity",
    "StopWhenSatisfied",
    "TemperatureFluctuations",
]
