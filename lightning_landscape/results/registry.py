"""The kinds of record, and of each the rows of its table, its panels and its exact curve.

A record names its kind in its attributes; the name is looked up here and nowhere else. Kinds from
outside the package are found through the entry points of installed packages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, ClassVar, TypeVar

from lightning_landscape.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

    from lightning_landscape.results.comparison.charts import Chart
    from lightning_landscape.results.comparison.verdict import Estimate
    from lightning_landscape.results.table import Row

__all__ = ["GROUP", "Panel", "Records", "Result", "guarded", "kind_of", "kinds", "look_up",
           "register"]  # fmt: skip

GROUP = "lightning_landscape.results"
"""The entry-point group of packages that register kinds of their own."""

Panel = Callable[["Dataset", "Axes"], None]
"""Draws one panel of a figure from a record."""

Records = Mapping[str, "Dataset"]
"""The records of one run, by kind."""

logger = logging.getLogger(__name__)


class Result:
    """The table rows, panels and exact curve of one kind of record, each empty by default.

    Error bars are over the replica axis of the record. Variables named ``<name>_exact`` hold what
    theory predicts for ``<name>``; `exact` adds them once, when a run ends, and the other methods
    read them from the record.

    Attributes:
        of_finite_size: whether finite N and a finite step add to the exact values of its rows.
    """

    of_finite_size: ClassVar[bool] = True

    def rows(self, dataset: Dataset) -> Iterable[Row]:
        """Return the rows of the table that closes a run; see `results.table`."""
        return ()

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the panels of the figure, each called with the record and its axes."""
        return []

    def exact(self, dataset: Dataset) -> Dataset:
        """Return the record with the exact curves that theory knows; by default unchanged.

        Raises:
            UsageError: the theory does not cover this run; the record is then kept as it is.
        """
        return dataset

    def charts(self, dataset: Dataset, run: Records) -> Iterable[Chart]:
        """Return the curves that are drawn on the same axes as those of other runs.

        Charts of one name share a panel where their axes are the same; see `comparison.charts`.

        Args:
            dataset: the record of this kind.
            run: all records of the same run, by kind.
        """
        return ()

    def estimates(self, dataset: Dataset, run: Records) -> Iterable[Estimate]:
        """Return the numbers of which a verdict says whether two runs agree in them.

        Args:
            dataset: the record of this kind.
            run: all records of the same run, by kind.
        """
        return ()


_known: dict[str, Result] = {}

R = TypeVar("R", bound=type[Result])


def register(*kinds: str) -> Callable[[R], R]:
    """Return a decorator that makes a `Result` the one for records of these kinds.

    The kind of a probe's record is the name of the probe's class. In a package of its own the
    module with the decorated class is named by an entry point, so that it is found without being
    imported first:

        [project.entry-points."lightning_landscape.results"]
        MyProbe = "my_package.my_results"

    Raises:
        UsageError: the kind is one of the package's own.

    >>> @register("Magnetization")
    ... class Magnetization(Result):
    ...     pass
    >>> "Magnetization" in kinds()
    True
    """

    def decorate(result: R) -> R:
        if not _is_own(result):
            _load_own()
        for kind in kinds:
            if kind in _known and _is_own(type(_known[kind])) and not _is_own(result):
                raise UsageError(
                    f"kind = {kind}: is one of the package's own; give the probe and its result "
                    "another name"
                )
            _known[kind] = result()
        return result

    return decorate


def look_up(kind: str) -> Result:
    """Return the result for records of ``kind``; an empty one for an unknown kind.

    Packages whose entry point has the name ``kind`` are imported for it. One that cannot be
    imported is reported in one sentence, once, and counts as unknown.
    """
    _load_own()
    if kind not in _known:
        _load_foreign(kind)
    return _known.get(kind) or Result()


def kinds() -> list[str]:
    """Return the kinds registered so far: the package's own first, in a fixed order."""
    _load_own()
    return list(_known)


def kind_of(dataset: Dataset) -> str:
    """Return the kind that a record names, or the empty string."""
    return str(dataset.attrs.get("probe", ""))


@contextmanager
def guarded(dataset: Dataset, what: str) -> Iterator[None]:
    """Log a failure inside as one sentence and go on: without a figure a record is still whole."""
    try:
        yield
    except Exception as error:
        kind = kind_of(dataset)
        logger.warning("no %s of %s: %s: %s", what, kind, type(error).__name__, error)


def _is_own(result: type[Result]) -> bool:
    return result.__module__.startswith(f"{GROUP}.")


def _load_own() -> None:
    import lightning_landscape.results.quantities  # noqa: F401


@cache
def _load_foreign(kind: str) -> None:
    for point in entry_points(group=GROUP, name=kind):
        try:
            point.load()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            logger.warning("entry point %s = %s: cannot be loaded: %s", kind, point.value, problem)
            continue
        if kind not in _known:
            logger.warning("entry point %s = %s: does not register %s", kind, point.value, kind)
