"""How the data are shared among the classes, and how the loss of each class falls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape.results.axes import logarithmic_time, points, shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row, row, spread
from lightning_landscape.theory.wide_networks import Layer, kernels, repeated_guess

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import DataArray, Dataset

__all__ = ["ClassBalance", "unbiased"]

_REFERENCE = "Francazi, Lucchi, Baity-Jesi 2023, arXiv:2306.00809, at infinite width"


@register("ClassBalance")
class ClassBalance(Result):
    """Shares of the guesses, and loss, recall and descent of each class, in time."""

    of_finite_size = False

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the sum of squared shares beside theory, and the extremes over the classes."""
        first = dataset.isel(t=0)
        if float(first["t"]) == 0:
            exact = first.get("repeated_exact")
            yield row("sum of squared shares of the guesses (t = 0)", first["repeated"], exact)
        for k in spread(dataset.sizes["t"], 3):
            at = dataset.isel(t=k)
            t = f"(t = {float(at['t']):.4g})"
            yield row(f"largest share of the guesses{t}", at["share"].max("class"))
            yield row(f"lowest recall of a class{t}", at["recall"].min("class"))
            yield row(f"lowest descent of a class{t}", at["descent"].min("class"))

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return the shares at the first time, and the losses and descents of the classes."""
        return [_shares, _losses, _descents]

    def exact(self, dataset: Dataset) -> Dataset:
        """Add the expectation of the sum of squared shares over networks of infinite width."""
        if "activation" not in dataset.attrs or float(dataset["t"][0]) != 0:
            return dataset
        widths = np.atleast_1d(dataset.attrs["widths"])
        layer = Layer(
            str(dataset.attrs["activation"]),
            float(dataset.attrs["weight_variance"]),
            float(dataset.attrs["bias_variance"]),
        )
        gram = dataset["gram"].to_numpy().astype(float)
        K1 = layer.bias_variance + layer.weight_variance * gram
        K = kernels(layer, K1, len(widths) - 1).K[-1]
        size = np.sqrt(K.diagonal())
        rho = np.clip(K / np.outer(size, size), -1, 1)
        np.fill_diagonal(rho, 1.0)
        dataset["repeated_exact"] = float(repeated_guess(rho, int(widths[-1])).mean())
        return dataset.assign_attrs(theory_reference=_REFERENCE)


def unbiased(dataset: Dataset) -> float:
    """Return the expectation of the sum of squared shares where every guess is independent.

    It is 1/C + (1 - 1/C) / P of P samples; 1/C where P is not known.
    """
    C, P = dataset.sizes["class"], dataset.sizes.get("sample", np.inf)
    return 1 / C + (1 - 1 / C) / P


def _shares(dataset: Dataset, axes: Axes) -> None:
    """The shares of the guesses at the first time, the largest first, and what is unbiased."""
    first = dataset.isel(t=0)
    ordered = -np.sort(-first["share"].to_numpy(), axis=1)
    rank = np.arange(1, ordered.shape[1] + 1)
    R = len(ordered)
    error = ordered.std(0, ddof=1) / R**0.5 if R > 1 else None
    axes.bar(rank, ordered.mean(0), yerr=error, alpha=0.6)
    axes.axhline(1 / len(rank), color="black", linewidth=1, label="1 / classes")
    title = f"t = {float(first['t']):g}"
    if "repeated_exact" in first:
        measured, exact = float(first["repeated"].mean()), float(first["repeated_exact"])
        title += rf": $\sum_c G_c^2$ = {measured:.3g}, theory {exact:.3g}"
    axes.set(xlabel="class, ordered by its share", ylabel="share of the guesses", title=title)
    axes.legend()


def _losses(dataset: Dataset, axes: Axes) -> None:
    """The mean loss of each class in time."""
    _of_classes(dataset, dataset["class_loss"], axes)
    axes.set(ylabel="loss of a class")


def _descents(dataset: Dataset, axes: Axes) -> None:
    """The descent of each class in time; below 0 its loss rises."""
    _of_classes(dataset, dataset["descent"], axes)
    axes.axhline(0, color="black", linewidth=1)
    axes.set(ylabel=r"descent $g_c \cdot g\,/\,|g|^2$")


def _of_classes(dataset: Dataset, values: DataArray, axes: Axes) -> None:
    C = dataset.sizes["class"]
    frequency = dataset["frequency"].isel(t=0)
    for c, color in zip(range(C), shades(C), strict=True):
        label = f"{c}: {100 * float(frequency[c]):.2g} %"
        points(axes, dataset["t"], values.isel({"class": c}), fmt="o-", color=color, label=label)
    axes.set(xlabel="t")
    logarithmic_time(dataset, axes)
    axes.legend(title="class: frequency", title_fontsize="x-small", fontsize="x-small", ncols=2)
