"""All data of a foreign project, each sample once, in batches of a fixed order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import nn
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)

from lightning_landscape import parallel
from lightning_landscape.callbacks.batches import length
from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.operators.evaluation import seed_evaluation
from lightning_landscape.errors import UsageError, nearest, require
from lightning_landscape.rng import Stream

__all__ = ["AllData", "Data", "DataBatch", "Mode", "all_data", "require_foreign", "require_mode"]

Data = DataLoader | Literal["train", "val"]
"""A loader, or the name of the trainer's own: ``"train"`` or ``"val"``."""

Mode = Literal["train", "eval"]
"""The modes of training as they are, or those of evaluation in every submodule."""

_NAMES = ("train", "val")
_MODES = ("train", "eval")
_REMEDY = "give data = a DataLoader of a data set with a length, batch_size, and no sampler"


class DataBatch(NamedTuple):
    """A batch, how many samples it holds, and which one it is."""

    number: int
    samples: int
    batch: Any


class AllData:
    """The data behind a loader: each sample once, in the order of the data set or a random one.

    The loader itself is left alone, and so are its sampler, its workers and its generator: every
    pass loads the data set anew, in this process, with the loader's ``batch_size`` and
    ``collate_fn``. The last batch may be smaller, whatever ``drop_last`` says. Where the loader
    shuffles, the order is a random one, the same at each pass, so that the batches of sorted data
    are like those of the run. Over ranks each has its share: every world-size-th sample.

    Loading a batch seeds the random numbers of Python, NumPy and torch by its number, so that
    random augmentations are the same at each pass; do it inside `measuring`, which restores them.
    What the data set changes in itself when it is read, such as a cache, stays changed.

    Args:
        loader: a loader of a data set with a length.
        seed: of a random order; None takes one only where the loader shuffles.

    Attributes:
        samples: how many this process has; batches if the loader does not collate.
        total: how many all ranks have.
        size: how many samples a batch has; the last one may have fewer.

    Raises:
        UsageError: the data set has no length, the loader has batches or a sampler of its own
            kind, or there are fewer samples than ranks.
    """

    def __init__(self, loader: DataLoader, seed: int | None = None) -> None:
        dataset: Any = loader.dataset
        iterable = isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__")
        name = type(dataset).__name__
        require(not iterable, "data", name, "has no length and no order", _REMEDY)
        rows = _ordered(_rows(loader), loader, seed)
        self._rows = rows[parallel.rank() :: parallel.count()]
        self.total, self.samples = len(rows), len(self._rows)
        require(self.samples > 0, "data", f"{name} of {self.total}", "has no sample for a rank")
        self._loader, self.size = loader, loader.batch_size or 1
        self._stream = Stream(0, "loading of data")

    def __len__(self) -> int:
        """Return the number of batches in one pass."""
        return -(-self.samples // self.size)

    def __getitem__(self, number: int) -> DataBatch:
        """Load a batch."""
        key = self._stream.key(number)
        random.seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002
        seed_evaluation(key)
        rows = self._rows[number * self.size : (number + 1) * self.size]
        dataset, collate = self._loader.dataset, self._loader.collate_fn
        if self._loader.batch_size is None:  # the data set is one of batches
            batch = collate(dataset[rows[0]])
            return DataBatch(number, length(batch), batch)
        fetch = getattr(dataset, "__getitems__", None)
        batch = collate(fetch(list(rows)) if fetch else [dataset[row] for row in rows])
        return DataBatch(number, len(rows), batch)

    def __iter__(self) -> Iterator[DataBatch]:
        return (self[number] for number in range(len(self)))


def all_data(data: Data, view: View, mode: Mode = "train", seed: int | None = None) -> AllData:
    """Return the data of a loader, or of one of the trainer's own.

    Args:
        data: a loader, ``"train"`` or ``"val"``.
        view: the run, a foreign project.
        mode: in which mode they will be evaluated.
        seed: of a random order, see `AllData`.

    Raises:
        UsageError: it is neither, the trainer has no such loader or several, see `AllData`; or the
            module normalises its batches over all ranks, which need not have as many.
    """
    across = [m for m in view.system.modules() if isinstance(m, nn.SyncBatchNorm)]
    apart = mode == "eval" or not across
    require(apart, "mode", mode, "SyncBatchNorm joins the batches of all ranks", "use mode = eval")
    if isinstance(data, DataLoader):
        return AllData(data, seed)
    admissible = 'must be a DataLoader, "train" or "val"'
    require(isinstance(data, str) and data in _NAMES, "data", data, admissible)
    trainer: Any = vars(view.system).get("_trainer")
    loaders = trainer and (trainer.train_dataloader if data == "train" else trainer.val_dataloaders)
    while isinstance(loaders, list | tuple) and len(loaders) == 1:
        loaders = loaders[0]
    if not isinstance(loaders, DataLoader):
        found = type(loaders).__name__ if loaders else "no loader"
        raise UsageError(
            f"data = {data!r}: the trainer has {found} there, not one DataLoader; give data = a "
            "DataLoader"
        )
    return AllData(loaders, seed)


def require_foreign(view: View, data: Data | None, mode: Mode) -> None:
    """Raise a `UsageError` if data or a mode are given though the run has an `Energy`."""
    plain, remedy = view.landscape is None, "leave it out"
    require(data is None or plain, "data", data, "an Energy has its own data", remedy)
    require(mode == "train" or plain, "mode", mode, "an Energy has one", remedy)


def require_mode(mode: str) -> None:
    """Raise a `UsageError` unless it is ``train`` or ``eval``."""
    admissible = f"must be one of {', '.join(_MODES)}{nearest(mode, _MODES)}"
    require(mode in _MODES, "mode", mode, admissible)


def _ordered(rows: Sequence[int], loader: DataLoader, seed: int | None) -> Sequence[int]:
    """Return the rows as they are, or where the loader shuffles or a seed is given, permuted."""
    sampler: Any = loader.sampler
    shuffles = isinstance(sampler, RandomSampler | SubsetRandomSampler)
    if seed is None and not (shuffles or getattr(sampler, "shuffle", False)):
        return rows
    order = Stream(seed or 0, "order of the data").permutation(len(rows), 0)
    return [rows[k] for k in order.tolist()]


def _rows(loader: DataLoader) -> Sequence[int]:
    """Return which samples of its data set a loader gives."""
    sampler: Any = loader.sampler
    everything = range(len(loader.dataset))  # type: ignore[arg-type]
    own_batches = loader.batch_size is None and loader.batch_sampler is not None
    if type(sampler) is SubsetRandomSampler and not own_batches:
        return sorted(sampler.indices)
    plain = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler and not sampler.replacement
    )
    # Lightning's own subclasses of it may wrap another sampler, which is their data set then
    distributed = isinstance(sampler, DistributedSampler) and sampler.dataset is loader.dataset
    name = type(loader.batch_sampler if own_batches else sampler).__name__
    right = (plain or distributed) and not own_batches
    require(right, "data", f"a DataLoader with {name}", "may not give each sample once", _REMEDY)
    return everything
