"""lightning_landscape: the physics of loss landscapes on PyTorch Lightning.

The public names below are imported on first use, so that ``import lightning_landscape`` and
``python -m lightning_landscape --help`` are fast.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "AgingCorrelation": "callbacks",
    "Copies": "energies",
    "Criticality": "callbacks",
    "DamageSpreading": "callbacks",
    "Diagnosis": "callbacks",
    "DilutedPSpin": "energies",
    "EdgeOfStability": "callbacks",
    "Energy": "energies",
    "EnergyRelaxation": "callbacks",
    "Equilibration": "callbacks",
    "FieldResponse": "callbacks",
    "FullyConnected": "energies",
    "GapDistribution": "callbacks",
    "GradientNoise": "callbacks",
    "HessianSpectrum": "callbacks",
    "JammingHessian": "callbacks",
    "LandscapeModule": "modules",
    "Langevin": "dynamics",
    "LearningCoefficient": "callbacks",
    "LeimkuhlerMatthews": "dynamics",
    "LinearResponse": "callbacks",
    "LossSurface": "callbacks",
    "MatchedNoise": "callbacks",
    "NetworkEnergy": "energies",
    "NoiseSpectrum": "callbacks",
    "Preconditioning": "callbacks",
    "Probe": "callbacks",
    "Quadratic": "energies",
    "ResNet18": "energies",
    "SmallConvNet": "energies",
    "SphericalPSpin": "energies",
    "SphericalPerceptron": "energies",
    "Stationarity": "callbacks",
    "StepNoise": "callbacks",
    "StopWhenSatisfied": "callbacks",
    "SynonymInvariance": "callbacks",
    "TangentKernel": "callbacks",
    "TemperatureFluctuations": "callbacks",
    "WithField": "energies",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
