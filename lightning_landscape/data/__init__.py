"""Data sets as tensors, transformations of data sets, and streams of mini-batches.

Transformations nest, in Python and, with ``class_path`` and ``init_args``, in a configuration. The
digits, prepared as Geiger et al. 2019, arXiv:1809.09349, prepare MNIST (parity, balanced classes,
ten whitened principal components, on a sphere):

>>> data = Subset(Parity(Digits()), samples=1000, class_fractions="equal")
>>> data = OnSphere(PrincipalComponents(data, components=10))
>>> data.inputs.shape, data.targets[:4].tolist(), round(data.inputs[0].norm().item() ** 2, 4)
(torch.Size([1000, 10]), [0, 1, 0, 1], 10.0)
"""

from lightning_landscape.data.batches import Batches
from lightning_landscape.data.compositional import SparseCompositional
from lightning_landscape.data.digits import Digits
from lightning_landscape.data.hierarchy import RandomHierarchy
from lightning_landscape.data.images import CIFAR10, MNIST, FashionMNIST
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.data.labels import GroupedClasses, Parity, RandomLabels
from lightning_landscape.data.mnist5000 import MNIST5000
from lightning_landscape.data.projections import OnSphere, PrincipalComponents
from lightning_landscape.data.random_data import RandomData
from lightning_landscape.data.subsets import Resplit, Subset
from lightning_landscape.data.xor import XOR

__all__ = [
    "CIFAR10",
    "MNIST",
    "MNIST5000",
    "XOR",
    "Batches",
    "Digits",
    "FashionMNIST",
    "GroupedClasses",
    "LabelledData",
    "OnSphere",
    "Parity",
    "PrincipalComponents",
    "RandomData",
    "RandomHierarchy",
    "RandomLabels",
    "Resplit",
    "SparseCompositional",
    "Subset",
]
