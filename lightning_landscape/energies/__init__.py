"""Energies E(x), replica axis first."""

from lightning_landscape.energies.copies import Copies
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.field import WithField
from lightning_landscape.energies.glasses.diluted import DilutedPSpin
from lightning_landscape.energies.glasses.perceptron import SphericalPerceptron
from lightning_landscape.energies.glasses.pspin import SphericalPSpin
from lightning_landscape.energies.networks.architectures import Architecture, FullyConnected
from lightning_landscape.energies.networks.convolutional import SmallConvNet
from lightning_landscape.energies.networks.hierarchical import HierarchicalConvNet
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.energies.networks.resnet import ResNet18
from lightning_landscape.energies.quadratic import Quadratic
from lightning_landscape.energies.regularized import WithL2
from lightning_landscape.energies.surfaces.closure import Closure
from lightning_landscape.energies.surfaces.lennard_jones import LennardJones
from lightning_landscape.energies.surfaces.mueller_brown import MuellerBrown
from lightning_landscape.energies.surfaces.six_hump_camel import SixHumpCamel

__all__ = [
    "Architecture",
    "Closure",
    "Copies",
    "DilutedPSpin",
    "Energy",
    "FullyConnected",
    "HierarchicalConvNet",
    "LennardJones",
    "MuellerBrown",
    "NetworkEnergy",
    "Quadratic",
    "Replicated",
    "ResNet18",
    "SixHumpCamel",
    "SmallConvNet",
    "SphericalPSpin",
    "SphericalPerceptron",
    "WithField",
    "WithL2",
]
