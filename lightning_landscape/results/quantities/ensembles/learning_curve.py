"""Learning curve: the test error on a random hierarchy against the number of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["LearningCurve", "load_at_error"]

Curve = tuple[list[float], list[float], list[float]]
"""P / P*, the mean of a quantity over seeds, and its standard error."""


@register("LearningCurve")
class LearningCurve(Result):
    """Errors of networks and kernels; see `studies.ensembles.LearningCurve`."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the error of every learner at every P, and where it is a tenth of chance."""
        chance = 1 - 1 / int(dataset.attrs["n_c"])
        for learner in learners(dataset):
            loads, means, errors = curve(dataset, learner, dataset["error"].to_numpy())
            for load, mean, error in zip(loads, means, errors, strict=True):
                yield Row(f"test error, {learner}, P = {load:g} P*", mean, error)
            load = load_at_error(loads, means, chance / 10)
            if not math.isnan(load):
                yield Row(f"P / P* at a tenth of the error of chance, {learner}", load, np.nan)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the errors, and the sensitivity of the first network to synonyms."""
        known = np.isfinite(dataset["sensitivity"].to_numpy()).any()
        return [_errors, *([_sensitivities] if known else [])]


def learners(dataset: Dataset) -> list[str]:
    """Return their names, in the order of the record."""
    return list(dict.fromkeys(str(name) for name in dataset["learner"].to_numpy()))


def curve(dataset: Dataset, learner: str, values: NDArray[np.float64]) -> Curve:
    """Return a quantity, given along ``run``, of a learner against P / P*."""
    own = np.array([str(name) == learner for name in dataset["learner"].to_numpy()])
    loads, means, errors = [], [], []
    for P in np.unique(dataset["P"].to_numpy()[own]):
        some = values[own & (dataset["P"].to_numpy() == P)]
        loads.append(float(P / dataset.attrs["characteristic_size"]))
        means.append(float(some.mean()))
        errors.append(float(some.std(ddof=1) / len(some) ** 0.5) if len(some) > 1 else np.nan)
    return loads, means, errors


def load_at_error(loads: list[float], errors: list[float], wanted: float) -> float:
    """Return where the error falls to ``wanted``, linear in log P; nan if it does not.

    >>> round(load_at_error([1.0, 4.0], [0.3, 0.1], wanted=0.2), 9)
    2.0
    """
    for k in range(1, len(loads)):
        above, below = errors[k - 1], errors[k]
        if above > wanted >= below:
            share = (above - wanted) / (above - below)
            return float(loads[k - 1] * (loads[k] / loads[k - 1]) ** share)
    return math.nan


def _errors(dataset: Dataset, axes: Axes) -> None:
    for learner in learners(dataset):
        loads, means, errors = curve(dataset, learner, dataset["error"].to_numpy())
        axes.errorbar(loads, means, errors, fmt="o-", label=learner)
    axes.axhline(1 - 1 / int(dataset.attrs["n_c"]), color="k", linestyle="--", label="chance")
    axes.set(ylabel="test error", ylim=(0, None))
    _loads(axes)


def _sensitivities(dataset: Dataset, axes: Axes) -> None:
    values = dataset["sensitivity"].to_numpy()
    known = np.isfinite(values).all(1)
    first = str(dataset["learner"].to_numpy()[known][0])
    for level, colour in enumerate(shades(values.shape[1])):
        loads, means, errors = curve(dataset, first, values[:, level])
        label = f"synonyms of level {level + 1}"
        axes.errorbar(loads, means, errors, fmt="o-", color=colour, label=label)
    axes.set(ylabel=f"sensitivity of {first}", ylim=(0, None))
    _loads(axes)


def _loads(axes: Axes) -> None:
    """Make the x axis one of P / P* in powers of two."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("P / P*")
    axes.legend()
