"""Energies E(x), replica axis first."""

from lightning_landscape.energies.diluted import DilutedPSpin
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.pspin import SphericalPSpin
from lightning_landscape.energies.quadratic import Quadratic

__all__ = ["DilutedPSpin", "Energy", "Quadratic", "SphericalPSpin"]
