"""MNIST, Fashion-MNIST and CIFAR-10, from their original files or from openml.org."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from lightning_landscape.data import _openml
from lightning_landscape.data._files import (
    read_batch,
    read_idx,
    write_batch,
    write_checksums,
    write_idx,
)
from lightning_landscape.data._normalization import standardized
from lightning_landscape.data._openml import Images, Source
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import UsageError

__all__ = ["CIFAR10", "MNIST", "FashionMNIST"]

_IDX_FILES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
_BATCHES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


class MNIST(LabelledData):
    """70 000 handwritten digits of 28 x 28 pixels, 10 000 of them for testing.

    Samples have shape (1, 28, 28). One shift and one scale factor for all pixels give the training
    samples mean 0 and variance 1, so that |x|^2 is about 784.

    The folder holds the four original files, ``train-images-idx3-ubyte``,
    ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, gzipped
    (``.gz``) or not; torchvision keeps them in ``MNIST/raw``. If the folder has none of them, the
    data are downloaded from openml.org, once, and written to the folder in the original format,
    with their checksums in ``SHA256SUMS``. Every file that ``SHA256SUMS`` lists is verified each
    time it is read.

    Source: LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86, 2278.

    Args:
        folder: holds the original files, or receives them.

    Raises:
        UsageError: a file is missing or damaged, or there are no files and no network.
    """

    _source: ClassVar[Source] = _openml.MNIST

    def __init__(self, folder: str = "datasets/mnist") -> None:
        super().__init__(*_tensors(_load(folder, self._source, _IDX_FILES, _read_idx, _write_idx)))


class FashionMNIST(MNIST):
    """70 000 images of clothing in the format of `MNIST`, in files with the same names.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747.

    Args:
        folder: holds the original files, or receives them.

    Raises:
        UsageError: as for `MNIST`.
    """

    _source: ClassVar[Source] = _openml.FASHION_MNIST

    def __init__(self, folder: str = "datasets/fashion_mnist") -> None:
        super().__init__(folder)


class CIFAR10(LabelledData):
    """60 000 photographs of 32 x 32 pixels in ten classes, 10 000 of them for testing.

    Samples have shape (3, 32, 32). One shift and one scale factor per colour channel give the
    training samples mean 0 and variance 1, so that |x|^2 is about 3072.

    The folder holds the unpacked Python version: ``data_batch_1`` … ``data_batch_5`` and
    ``test_batch``; torchvision keeps them in ``cifar-10-batches-py``. They are pickles, read
    without executing any code. If the folder has none of them, the data are downloaded once from
    openml.org; see `MNIST`.

    Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".

    Args:
        folder: holds the original files, or receives them.

    Raises:
        UsageError: as for `MNIST`.
    """

    _source: ClassVar[Source] = _openml.CIFAR10

    def __init__(self, folder: str = "datasets/cifar10") -> None:
        super().__init__(
            *_tensors(_load(folder, self._source, _BATCHES, _read_batches, _write_batches))
        )


def _load(
    folder: str,
    source: Source,
    names: list[str],
    read: Callable[[list[Path]], Images],
    write: Callable[[list[Path], Images], None],
) -> Images:
    home = Path(folder).expanduser()
    found = [next((p for p in _spellings(home / name) if p.exists()), None) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if not missing:
        return _matching(folder, read([path for path in found if path is not None]))
    if len(missing) < len(names):
        raise UsageError(f"folder = {folder}: lacks {', '.join(missing)}; add them")
    try:
        images = _openml.fetch(source)
    except UsageError as error:
        wanted = f"holds none of {', '.join(names)}"
        remedy = "put the original files there, or run once with a network connection"
        raise UsageError(f"folder = {folder}: {wanted}, and {error}; {remedy}") from error
    write([home / name for name in names], images)
    return images


def _matching(folder: str, images: Images) -> Images:
    for what, x, y in (("training", *images[:2]), ("test", *images[2:])):
        if len(x) != len(y) or not set(np.unique(y)) <= set(range(10)):
            found = f"{len(x)} {what} images and {len(y)} labels {y.min()} … {y.max()}"
            raise UsageError(
                f"folder = {folder}: holds {found}; the files belong to different data sets"
            )
    return images


def _spellings(path: Path) -> list[Path]:
    return [path, path.with_name(f"{path.name}.gz")]


def _read_idx(paths: list[Path]) -> Images:
    return Images(*(read_idx(path, axes) for path, axes in zip(paths, [3, 1, 3, 1], strict=True)))


def _write_idx(paths: list[Path], images: Images) -> None:
    packed = [path.with_name(f"{path.name}.gz") for path in paths]
    for path, values in zip(packed, images, strict=True):
        write_idx(path, values)
    write_checksums(paths[0].parent, [path.name for path in packed])


def _read_batches(paths: list[Path]) -> Images:
    *training, test = [read_batch(path) for path in paths]
    images, labels = (np.concatenate(parts) for parts in zip(*training, strict=True))
    return Images(images, labels, *test)


def _write_batches(paths: list[Path], images: Images) -> None:
    training = zip(
        paths[:-1], np.array_split(images.images, 5), np.array_split(images.labels, 5), strict=True
    )
    for path, pixels, labels in training:
        write_batch(path, pixels, labels)
    write_batch(paths[-1], images.test_images, images.test_labels)
    write_checksums(paths[0].parent, [path.name for path in paths])


def _tensors(images: Images) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Return the arguments of `LabelledData`; inputs have shape (P, channels, height, width)."""
    x, x_test = (
        torch.tensor(pixels).view(-1, pixels.size // len(pixels) // h // w, h, w)
        for pixels in (images.images, images.test_images)
        for h, w in [pixels.shape[-2:]]
    )
    y, y_test = (torch.tensor(labels).long() for labels in (images.labels, images.test_labels))
    x, x_test = standardized(x.float(), x_test.float())
    return x, y, x_test, y_test, 10
