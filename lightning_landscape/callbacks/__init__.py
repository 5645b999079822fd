"""Lightning callbacks: probes measure and never change the trajectory, steering ones do."""

from lightning_landscape.callbacks.diagnosis import (
    ClassBalance,
    Diagnosis,
    EdgeOfStability,
    Preconditioning,
    StepNoise,
)
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.aging import AgingCorrelation
from lightning_landscape.callbacks.probes.damage import DamageSpreading
from lightning_landscape.callbacks.probes.energy import EnergyRelaxation
from lightning_landscape.callbacks.probes.equilibration import Equilibration
from lightning_landscape.callbacks.probes.fluctuations import TemperatureFluctuations
from lightning_landscape.callbacks.probes.gaps import GapDistribution
from lightning_landscape.callbacks.probes.gradient_noise import GradientNoise
from lightning_landscape.callbacks.probes.hessian import HessianSpectrum
from lightning_landscape.callbacks.probes.jamming_hessian import JammingHessian
from lightning_landscape.callbacks.probes.learning_coefficient import LearningCoefficient
from lightning_landscape.callbacks.probes.noise_spectrum import NoiseSpectrum
from lightning_landscape.callbacks.probes.response import FieldResponse, LinearResponse
from lightning_landscape.callbacks.probes.stationarity import Stationarity
from lightning_landscape.callbacks.probes.surface import LossSurface
from lightning_landscape.callbacks.probes.wide_networks.criticality import Criticality
from lightning_landscape.callbacks.probes.wide_networks.synonym_invariance import SynonymInvariance
from lightning_landscape.callbacks.probes.wide_networks.tangent_kernel import TangentKernel
from lightning_landscape.callbacks.steering.matched_noise import MatchedNoise
from lightning_landscape.callbacks.steering.satisfied import StopWhenSatisfied

__all__ = [
    "AgingCorrelation",
    "ClassBalance",
    "Criticality",
    "DamageSpreading",
    "Diagnosis",
    "EdgeOfStability",
    "EnergyRelaxation",
    "Equilibration",
    "FieldResponse",
    "GapDistribution",
    "GradientNoise",
    "HessianSpectrum",
    "JammingHessian",
    "LearningCoefficient",
    "LinearResponse",
    "LossSurface",
    "MatchedNoise",
    "NoiseSpectrum",
    "Preconditioning",
    "Probe",
    "Stationarity",
    "StepNoise",
    "StopWhenSatisfied",
    "SynonymInvariance",
    "TangentKernel",
    "TemperatureFluctuations",
]
