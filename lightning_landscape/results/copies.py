"""Copies of a replica are not independent: their mean is taken before error bars are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["mean_of_copies"]


def mean_of_copies(dataset: Dataset) -> Dataset:
    """Return the record of a run of `Copies` with the replicas of the energy inside.

    Each variable becomes its mean over the copies of a replica, so that a standard error over
    replicas does not count copies as independent. Other records are returned unchanged, and so are
    those of copies at different temperatures, which are different systems.
    """
    copies, rows = dataset.attrs.get("copies", 1), dataset.attrs["replicas"]
    T = np.broadcast_to(dataset.attrs["temperature"], rows).reshape(copies, -1)
    if copies == 1 or (T != T[0]).any():
        return dataset
    several = np.ndim(dataset.attrs["temperature"]) > 0
    own = {"temperature": T[0].tolist()} if several else {}
    if dataset.sizes.get("replica") == rows:  # a probe of copies has their replicas already
        dataset = _averaged(dataset, rows // copies)
    return dataset.assign_attrs(own, replicas=rows // copies)


def _averaged(dataset: Dataset, R: int) -> Dataset:
    of_replicas = [name for name, value in dataset.data_vars.items() if "replica" in value.dims]
    means = (
        dataset[of_replicas]
        .coarsen(replica=R)  # copy k of replica r is row k R + r
        .construct(replica=("copy", "replica"))
        .mean("copy", keep_attrs=True)
    )
    return dataset.drop_dims("replica").assign(means.data_vars)
