"""Probes: Lightning callbacks that measure and never change the trajectory."""

from lightning_landscape.callbacks.aging import AgingCorrelation
from lightning_landscape.callbacks.energy import EnergyRelaxation
from lightning_landscape.callbacks.gaps import GapDistribution
from lightning_landscape.callbacks.hessian import HessianSpectrum
from lightning_landscape.callbacks.probe import Probe

__all__ = ["AgingCorrelation", "EnergyRelaxation", "GapDistribution", "HessianSpectrum", "Probe"]
