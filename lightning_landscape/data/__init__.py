"""Data sets as tensors, what makes other data sets of them, and streams of mini-batches."""

from lightning_landscape.data.batches import Batches
from lightning_landscape.data.dataset import Dataset
from lightning_landscape.data.digits import Digits
from lightning_landscape.data.images import CIFAR10, MNIST, FashionMNIST
from lightning_landscape.data.labels import Grouped, Parity, RandomLabels
from lightning_landscape.data.projections import OnSphere, PrincipalComponents
from lightning_landscape.data.random_data import RandomData
from lightning_landscape.data.subsets import Redivided, Subset

__all__ = [
    "CIFAR10",
    "MNIST",
    "Batches",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Grouped",
    "OnSphere",
    "Parity",
    "PrincipalComponents",
    "RandomData",
    "RandomLabels",
    "Redivided",
    "Subset",
]
