"""Energies E(x), replica axis first."""

from lightning_landscape.energies.architectures import Architecture, FullyConnected
from lightning_landscape.energies.convolutional import SmallConvNet
from lightning_landscape.energies.copies import Copies
from lightning_landscape.energies.diluted import DilutedPSpin
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.field import WithField
from lightning_landscape.energies.network import NetworkEnergy
from lightning_landscape.energies.perceptron import SphericalPerceptron
from lightning_landscape.energies.pspin import SphericalPSpin
from lightning_landscape.energies.quadratic import Quadratic
from lightning_landscape.energies.resnet import ResNet18
from lightning_landscape.energies.stacked import Stacked

__all__ = [
    "Architecture",
    "Copies",
    "DilutedPSpin",
    "Energy",
    "FullyConnected",
    "NetworkEnergy",
    "Quadratic",
    "ResNet18",
    "SmallConvNet",
    "SphericalPSpin",
    "SphericalPerceptron",
    "Stacked",
    "WithField",
]
