"""The loss on a line or plane through the weights: contours, profiles and a view from above."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.results.axes import shades
from lightning_landscape.results.registry import Panel, Result, register
from lightning_landscape.results.table import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset

__all__ = ["LossSurface"]

_LEVELS = 18
_DECADES = 1.0  # of the losses, from which on contours are spaced by their logarithm
_NAMES = ("alpha", "beta")
_LABELS = {"alpha": "α", "beta": "β"}


@register("LossSurface")
class LossSurface(Result):
    """The surfaces of the probe `LossSurface`; figures show the last one, profiles all times."""

    def rows(self, dataset: Dataset) -> Iterator[Row]:
        """Yield the loss in the middle, the lowest, and the curvatures along the directions."""
        if "loss" not in dataset or not dataset.sizes["t"]:
            return
        loss, middle = _last(dataset), _middle(dataset)
        nan = math.nan
        yield Row("loss at the weights", float(loss[middle]), nan)
        at = np.unravel_index(np.nanargmin(loss), loss.shape)
        names = _NAMES[: loss.ndim]
        where = ", ".join(
            f"{_LABELS[n]} = {float(dataset[n][k]):.3g}" for n, k in zip(names, at, strict=True)
        )
        yield Row("lowest loss on the surface", float(loss[at]), nan, note=f"at {where}")
        for k, name in enumerate(names):
            exact = float(dataset["eigenvalue"][-1, k]) if "eigenvalue" in dataset else nan
            found = _curvature(dataset, k)
            note = "" if math.isnan(exact) else "eigenvalue of the Hessian"
            yield Row(f"curvature along {_LABELS[name]}", found, nan, exact, note)
            if "explained" in dataset:
                share = float(dataset["explained"][-1, k])
                yield Row(f"share of the trajectory along {_LABELS[name]}", share, nan)

    def panels(self, dataset: Dataset) -> list[Panel]:
        """Return contours, profiles and a view in three dimensions; of a line the profile."""
        if "loss" not in dataset:
            return []
        return [_contours, _profiles, _view] if dataset["loss"].ndim == 3 else [_profiles]


def _last(dataset: Dataset) -> NDArray[np.float64]:
    return dataset["loss"].isel(t=-1).to_numpy()


def _middle(dataset: Dataset) -> tuple[int, ...]:
    """Return where the weights are: the coordinates 0."""
    names = _NAMES[: dataset["loss"].ndim - 1]
    return tuple(int(np.abs(dataset[n].values).argmin()) for n in names)


def _curvature(dataset: Dataset, direction: int) -> float:
    """Return the second difference at the weights, per length squared of the direction."""
    middle = _middle(dataset)
    along = dataset[_NAMES[direction]].to_numpy()
    at: list[int | slice] = list(middle)
    at[direction] = slice(None)
    row = _last(dataset)[tuple(at)]
    m, h = middle[direction], along[1] - along[0]
    h = h * float(dataset["length"][-1, direction])
    return float((row[m + 1] - 2 * row[m] + row[m - 1]) / h**2)


def _levels(loss: NDArray[np.float64]) -> tuple[NDArray[np.float64], bool]:
    """Return the levels of contours, and whether they are spaced by their logarithm."""
    finite = loss[np.isfinite(loss)]
    low, high = finite.min(), finite.max()
    if low > 0 and np.log10(high / low) > _DECADES:
        return np.geomspace(low, high, _LEVELS), True
    return np.linspace(low, high if high > low else low + 1, _LEVELS), False


def _contours(dataset: Dataset, axes: Axes) -> None:
    """Contours, the present weights as a cross, and the trajectory where there is one."""
    from matplotlib.colors import LogNorm

    loss, (levels, logarithmic) = _last(dataset), _levels(_last(dataset))
    alpha, beta = dataset["alpha"].values, dataset["beta"].values
    norm = LogNorm(levels[0], levels[-1]) if logarithmic else None
    filled = axes.contourf(alpha, beta, loss.T, levels, norm=norm, cmap="viridis", alpha=0.85)
    axes.contour(alpha, beta, loss.T, levels, colors="black", linewidths=0.3)
    bar = axes.figure.colorbar(filled, ax=axes)
    bar.ax.set_title("loss", fontsize="small")
    shown = levels[:: (_LEVELS - 1) // 4]
    bar.set_ticks(list(shown), labels=[f"{level:.3g}" for level in shown])
    bar.ax.minorticks_off()
    axes.grid(False)
    if "path" in dataset:
        x, y = dataset["path"].values.T
        axes.plot(x, y, "o-", color="white", markeredgecolor="black", markersize=3, linewidth=1)
    axes.plot(0, 0, "x", color="red", markersize=7)
    axes.locator_params(nbins=6)
    axes.set(xlabel=_label(dataset, 0), ylabel=_label(dataset, 1))


def _profiles(dataset: Dataset, axes: Axes) -> None:
    """The loss along each direction through the weights, with the parabola of the eigenvalue."""
    middle = _middle(dataset)
    names = _NAMES[: len(middle)]
    for k, name in enumerate(names):
        loss = dataset["loss"].isel({n: middle[j] for j, n in enumerate(names) if j != k})
        along = dataset[name].values
        times = [len(loss.t) - 1] if len(names) > 1 else range(len(loss.t))
        colours = shades(max(len(times), 2)) if len(names) == 1 else [f"C{k}"]
        for t, colour in zip(times, colours, strict=False):
            label = _LABELS[name] if len(names) > 1 else f"t = {float(loss.t[t]):g}"
            axes.plot(along, loss.isel(t=t), ".-", color=colour, label=label)
        if "eigenvalue" in dataset:
            row, m = loss[-1].values, middle[k]
            slope = (row[m + 1] - row[m - 1]) / (along[m + 1] - along[m - 1])
            parabola = row[m] + slope * along + float(dataset["eigenvalue"][-1, k]) / 2 * along**2
            shown = parabola > 0  # which matters on a logarithmic axis only
            axes.plot(along[shown], parabola[shown], "--", color=colours[-1])
    if _levels(_last(dataset))[1]:
        axes.set_yscale("log")
    axes.set(xlabel=_label(dataset, 0) if len(names) == 1 else "α, β", ylabel="loss")
    axes.legend(title="dashed: to second order" if "eigenvalue" in dataset else None)


def _view(dataset: Dataset, axes: Axes) -> None:
    """The surface in three dimensions, in the place of these axes."""
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    loss, (levels, logarithmic) = _last(dataset), _levels(_last(dataset))
    place, figure = axes.get_position().bounds, axes.figure
    axes.set_visible(False)
    view: Any = figure.add_axes(place, projection="3d")
    alpha, beta = np.meshgrid(dataset["alpha"], dataset["beta"], indexing="ij")
    height = np.log10(loss) if logarithmic else loss
    norm = (LogNorm if logarithmic else Normalize)(levels[0], levels[-1])
    colours = colormaps["viridis"](norm(loss))
    how = {"rstride": 1, "cstride": 1, "linewidth": 0, "antialiased": False, "shade": False}
    view.plot_surface(alpha, beta, height, facecolors=colours, **how)
    view.set(xlabel="α", ylabel="β")
    # beside the axes its name would leave the figure
    view.text2D(0.0, 0.95, "log₁₀ loss" if logarithmic else "loss", transform=view.transAxes)


def _label(dataset: Dataset, k: int) -> str:
    kind = {"hessian": "eigenvector", "trajectory": "principal direction", "random": "random"}
    name, of = _LABELS[_NAMES[k]], kind.get(str(dataset.attrs.get("directions")), "")
    share = f", {float(dataset['explained'][-1, k]):.0%}" if "explained" in dataset else ""
    return f"{name} ({of} {k + 1}{share})" if of else name
