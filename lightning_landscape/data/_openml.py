"""Download of the image data sets from openml.org."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lightning_landscape.errors import UsageError

__all__ = ["CIFAR10", "FASHION_MNIST", "MNIST", "Images", "Source", "fetch"]


class Source(NamedTuple):
    """A data set on openml.org, with its training samples first.

    Attributes:
        data_id: its identifier on openml.org.
        image_shape: shape of a sample.
        training_samples: the number of training samples.
        test_counts: the number of test samples in each class; verifies the split.
    """

    data_id: int
    image_shape: tuple[int, ...]
    training_samples: int
    test_counts: Sequence[int]


class Images(NamedTuple):
    """Images, uint8 (P, …), and labels (P,), for training and testing."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


MNIST = Source(554, (28, 28), 60_000, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
FASHION_MNIST = Source(40_996, (28, 28), 60_000, [1000] * 10)
CIFAR10 = Source(40_927, (3, 32, 32), 50_000, [1000] * 10)


def fetch(source: Source) -> Images:
    """Return a data set from scikit-learn's `fetch_openml`, which verifies its MD5 checksum.

    Raises:
        UsageError: the download fails, or is not the expected data set.
    """
    from sklearn.datasets import fetch_openml

    try:
        X, y = fetch_openml(
            data_id=source.data_id, return_X_y=True, as_frame=False, cache=False, n_retries=1
        )
    except (OSError, ValueError) as error:  # no network, or a damaged download
        raise UsageError(
            f"openml.org did not deliver data set {source.data_id} ({error})"
        ) from error
    images, labels = X.astype(np.uint8).reshape(-1, *source.image_shape), y.astype(np.int64)
    P = source.training_samples
    counts = np.bincount(labels[P:], minlength=10).tolist()
    if counts != list(source.test_counts) or not np.array_equal(images.reshape(X.shape), X):
        raise UsageError(f"openml.org's data set {source.data_id} is not the one expected")
    return Images(images[:P], labels[:P], images[P:], labels[P:])
