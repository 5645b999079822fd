"""What a study is: which round comes next, what a round computes, and the record of all rounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from lightning_landscape.studies.checkpoint import RoundCheckpoint

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Compute", "Result", "Round", "Study"]

Result = dict[str, Any]
"""What is recorded of one seed: names to numbers, or to nested lists of numbers."""

Compute = Callable[[Any, list[int], RoundCheckpoint], list[Result]]
"""``compute(round, share, checkpoint)``: one result for each seed in ``share``, in that order."""


class Round(Protocol):
    """The seeds of one point that are computed together."""

    @property
    def key(self) -> Hashable:
        """What distinguishes it from all other rounds of the study; its ``repr`` is stable."""


class Study(ABC):
    """A set of (point, seed), computed round after round.

    The next round is a function of the recorded results, so that a study that was killed resumes
    and ends with the same record as one that was not. `Experiment` carries it out.

    Attributes:
        name: of the record's file, in lower case with underscores.
        seeds: the number of seeds in a round, numbered from 0 and shared among processes.
        dims: the dimensions after ``run`` of those recorded variables that are not single numbers,
            by variable.
    """

    name: ClassVar[str]
    seeds: int
    dims: Mapping[str, tuple[str, ...]]

    @abstractmethod
    def next(self, recorded: Sequence[Result]) -> Any:
        """Return the `Round` to compute after ``recorded``, or None if that suffices."""

    @property
    @abstractmethod
    def compute(self) -> Compute:
        """The function that computes a share of a round; picklable."""

    @abstractmethod
    def dataset(self, recorded: Sequence[Result]) -> Dataset:
        """Return all results along ``run``, and what follows from them; see `table.columns`."""

    @abstractmethod
    def line(self, each: Any, new: Sequence[Result]) -> str:
        """Return what the round ``each`` has found, in a line."""

    @property
    def default_processes(self) -> int:
        """The number of processes among which a round is shared by default: torch's threads."""
        return torch.get_num_threads()
