"""Data sets as tensors, and streams of mini-batches."""

from lightning_landscape.data.batches import Batches
from lightning_landscape.data.dataset import Dataset
from lightning_landscape.data.digits import Digits
from lightning_landscape.data.random_data import RandomData

__all__ = ["Batches", "Dataset", "Digits", "RandomData"]
