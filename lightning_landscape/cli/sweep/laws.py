"""Laws through the points of a sweep: limits in an option, and powers of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.errors import UsageError, require
from lightning_landscape.results.quantities.sweep import Curve, axis_of, curves
from lightning_landscape.studies.finite_size.law import Law, extrapolate

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["check_law", "of_infinite_size", "with_law"]

Array = NDArray[np.float64]
_LAWS = ("infinity", "zero", "power")
_FEWEST_SIZES = 3  # of which a limit is taken without being asked for


def check_law(text: str) -> str:
    """Return a law as the option ``--law`` gives it.

    With x the option that is swept and X a quantity,

        infinity      X = X_inf + b x^-1        the limit of infinite x, as of infinite size
        infinity:w    X = X_inf + b x^-w        the same with the exponent w > 0
        zero:w        X = X_0 + b x^w           the limit of x = 0, w = 1 unless given
        power         X = A x^b                 the exponent b

    Raises:
        UsageError: it is none of these.
    """
    _parsed(text)
    return text


def of_infinite_size(dataset: Dataset) -> list[str]:
    """Return the quantities of a sweep over N whose exact value is that of infinite size.

    It is the same at every N, of which there are at least three: the family of sizes then has a
    limit to be compared with it.
    """
    axis = axis_of(dataset)
    if axis.rpartition(".")[2] != "N":
        return []
    found = {str(q): curves(dataset, str(q)) for q in dataset["quantity"].to_numpy()}
    return [quantity for quantity, each in found.items() if each and all(map(_is_family, each))]


def _is_family(curve: Curve) -> bool:
    exact = curve.exact
    enough = len(curve.x) >= _FEWEST_SIZES and bool(np.isfinite(exact).all())
    return enough and float(np.ptp(exact)) <= 1e-9 * float(np.abs(exact).max())


def with_law(dataset: Dataset, text: str, only: Collection[str] | None = None) -> Dataset:
    """Return a catalogue with the law fitted to every curve of every quantity, or of some.

    Weighted least squares through the means over the seeds; points without an error bar do not
    count. Added are, along ``curve`` and ``quantity``, ``law`` with the limit or the exponent,
    ``law_error``, ``law_chi2``, ``law_freedom``, and ``law_coefficients``; nan where fewer than
    two values of the option are known, or a power meets a mean that is not positive. The error of
    a limit contains the model error, see `studies.finite_size.law.extrapolate`.

    Raises:
        UsageError: the option with the most values has none, or some that are not positive.
    """
    name, exponent = _parsed(text)
    axis = axis_of(dataset)
    x = dataset[axis].to_numpy()
    positive = np.issubdtype(x.dtype, np.number) and bool((x > 0).all())
    require(positive, "law", text, f"needs numbers above 0, and {axis} has others")
    quantities = [str(q) for q in dataset["quantity"].to_numpy()]
    wanted = quantities if only is None else only
    found = [
        [_fit(name, exponent, c) if q in wanted else (np.nan,) * 6 for c in curves(dataset, q)]
        for q in quantities
    ]
    labels = [c.label for c in curves(dataset, quantities[0])] if quantities else []
    table = np.array(found, float).reshape(len(quantities), len(labels), 6).transpose(1, 0, 2)
    along = ("curve", "quantity")
    names = ("law", "law_error", "law_chi2", "law_freedom")
    variables: dict[str, Any] = {n: (along, table[..., k]) for k, n in enumerate(names)}
    variables["law_coefficients"] = ((*along, "coefficient"), table[..., 4:])
    described = {"law": name, "law_exponent": exponent, "law_text": text}
    return dataset.assign(variables).assign_coords(curve=labels).assign_attrs(described)


def _parsed(text: str) -> tuple[str, float]:
    """Return the name of a law and its exponent."""
    name, _, power = text.partition(":")
    required = f"must be one of {', '.join(_LAWS)}; the first two take an exponent, as infinity:2"
    require(name in _LAWS and not (name == "power" and power), "law", text, required)
    try:
        exponent = float(power or 1)
    except ValueError:
        exponent = -1.0
    require(0 < exponent < np.inf, "law", text, "has an exponent that is no positive number")
    return name, exponent


def _fit(name: str, exponent: float, curve: Curve) -> tuple[float, ...]:
    """Return limit or exponent, its error, chi^2, degrees of freedom, and two coefficients."""
    nothing = (np.nan,) * 6
    good = np.isfinite(curve.mean) & (np.nan_to_num(curve.error) > 0)
    x, X, error = (np.asarray(v[good], float) for v in (curve.x, curve.mean, curve.error))
    if len(x) < 2:
        return nothing
    if name == "power":
        return nothing if (X <= 0).any() else _power(x, X, error)
    sizes = x if name == "infinity" else 1 / x
    try:
        limit = extrapolate(Law((exponent,)), sizes, np.zeros_like(x), X, error)
    except (UsageError, np.linalg.LinAlgError):
        return nothing
    value, b = (float(c) for c in limit.coefficients)
    return value, float(limit.error), float(limit.chi2), limit.freedom, value, b


def _power(x: Array, X: Array, error: Array) -> tuple[float, ...]:
    """Fit ln X = ln A + b ln x."""
    sigma = error / X
    fitted, covariance = np.polyfit(np.log(x), np.log(X), 1, w=1 / sigma, cov="unscaled")
    b, lnA = (float(c) for c in fitted)
    chi2 = float((((np.log(X) - lnA - b * np.log(x)) / sigma) ** 2).sum())
    return b, float(covariance[0, 0] ** 0.5), chi2, len(x) - 2, float(np.exp(lnA)), b
