"""Energies E(x), replica axis first."""

from lightning_landscape.energies.copies import Copies
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.field import WithField
from lightning_landscape.energies.glasses.diluted import DilutedPSpin
from lightning_landscape.energies.glasses.perceptron import SphericalPerceptron
from lightning_landscape.energies.glasses.pspin import SphericalPSpin
from lightning_landscape.energies.networks.architectures import Architecture, FullyConnected
from lightning_landscape.energies.networks.convolutional import SmallConvNet
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.energies.networks.resnet import ResNet18
from lightning_landscape.energies.quadratic import Quadratic

__all__ = [
    "Architecture",
    "Copies",
    "DilutedPSpin",
    "Energy",
    "FullyConnected",
    "NetworkEnergy",
    "Quadratic",
    "Replicated",
    "ResNet18",
    "SmallConvNet",
    "SphericalPSpin",
    "SphericalPerceptron",
    "WithField",
]
