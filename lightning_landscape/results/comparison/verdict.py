r"""Whether two runs agree in a quantity, differ in it, or cannot be told apart.

Each run gives an `Estimate` of the quantity from its independent replicas. Of two,

    t = (a - b) / sqrt(e_a^2 + e_b^2)

is compared with Student's distribution, with the degrees of freedom of Welch and Satterthwaite,

    dof = (e_a^2 + e_b^2)^2 / (e_a^4 / dof_a + e_b^4 / dof_b).

A quantity of several components (a density at several places) takes the smallest p-value times
their number (Bonferroni), which holds for any correlation between them. Quantities of one run are
correlated too, since they share its replicas, and many are tested at once: the p-values of all are
adjusted together by Holm's method, which again assumes nothing of their dependence. With LEVEL =
0.05, at most one table in twenty calls anything different where all is equal.

Not to be different is not yet to agree: two runs agree where their difference is below an
appreciable one at 95 % confidence (two one-sided tests), and cannot be told apart where the error
bars leave room for more.

Sources: Welch 1947, Biometrika 34, 28; Holm 1979, Scand. J. Statist. 6, 65; Schuirmann 1987, J.
Pharmacokinet. Biopharm. 15, 657 (two one-sided tests).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_landscape.errors import require

__all__ = ["LEVEL", "MARGIN", "Estimate", "Outcome", "Verdict", "adjusted", "compare", "verdicts"]

Array = NDArray[np.float64]
Outcome = Literal["agree", "differ", "cannot be told apart", "not compared"]

LEVEL = 0.05
"""The probability that a table of equal runs calls any quantity different."""

MARGIN = 0.2
"""An appreciable difference, in units of the scale of a quantity."""


@dataclass(frozen=True)
class Estimate:
    """A quantity of one run, with what is needed to compare it with that of another run.

    Attributes:
        quantity: its name; estimates of one name are compared.
        value: the estimate, a number or one for each component.
        error: its standard error over independent replicas, of the shape of ``value``; nan where
            one replica cannot tell.
        dof: degrees of freedom of ``error``: one less than the replicas, or groups of them.
        scale: a difference of ``MARGIN`` times it is appreciable. The logarithm of a quantity has
            scale 1, so that its ratio counts; so do exponents.
        system: what the quantity depends on beyond the dynamics (the energy and its size). Only
            runs of one system are compared; the empty string for numbers without a unit, which
            are compared between all.
        flaw: why the number means nothing, such as a law that does not describe the data.
    """

    quantity: str
    value: float | Array
    error: float | Array
    dof: int
    scale: float = 1.0
    system: str = ""
    flaw: str = ""


@dataclass(frozen=True)
class Verdict:
    """The comparison of a quantity of two runs.

    Attributes:
        quantity: its name.
        first: its estimate in one run.
        second: in the other run.
        statistic: t, that of the component that differs most.
        dof: the degrees of freedom of Welch and Satterthwaite.
        p_value: of both tails; 1 for equal values without error, nan where it is not known.
        adjusted: the p-value after Holm's method, over the table.
        outcome: the verdict.
        why: why the quantity was not compared.
    """

    quantity: str
    first: Estimate
    second: Estimate
    statistic: float
    dof: float
    p_value: float
    adjusted: float
    outcome: Outcome
    why: str = ""


def compare(first: Estimate, second: Estimate) -> tuple[float, float, float]:
    """Return t, its degrees of freedom and the p-value of equality; nan where errors are unknown.

    >>> a, b = (Estimate("x", value, 0.3, dof=4) for value in (1.0, 2.0))
    >>> t, dof, p = compare(a, b)
    >>> round(t, 3), round(dof, 1), round(p, 4)
    (-2.357, 8.0, 0.0462)
    """
    difference, error, dof = _welch(first, second)
    if not np.isfinite(difference).all() or np.isnan(error).any():
        return np.nan, np.nan, np.nan
    from scipy.stats import t as student

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(difference == 0, 0.0, difference / error)
    p = 2 * student.sf(np.abs(t), dof)
    k = int(np.argmin(p))
    return float(t[k]), float(dof[k]), float(min(1.0, p[k] * len(p)))


def _welch(first: Estimate, second: Estimate) -> tuple[Array, Array, Array]:
    """Return difference, its error and degrees of freedom, a number for each component."""
    a, b = (np.atleast_1d(np.asarray(each.value, float)) for each in (first, second))
    require(a.shape == b.shape, first.quantity, (a.shape, b.shape), "must have as many components")
    v, w = (np.atleast_1d(np.asarray(each.error, float)) ** 2 for each in (first, second))
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = (v + w) ** 2 / (v**2 / max(first.dof, 1) + w**2 / max(second.dof, 1))
    return a - b, np.sqrt(v + w), np.where(np.isfinite(dof), dof, 1.0)


def agrees(first: Estimate, second: Estimate, margin: float = MARGIN) -> bool:
    """Return whether all components differ by less than the margin, at 95 % confidence each."""
    from scipy.stats import t as student

    difference, error, dof = _welch(first, second)
    reach = np.abs(difference) + student.ppf(1 - LEVEL, dof) * error
    return bool((reach < margin * max(first.scale, second.scale)).all())


def adjusted(p_values: ArrayLike) -> Array:
    """Return the p-values by Holm's method; nan stays nan and is not counted.

    The k-th smallest of m is multiplied by m - k + 1, and none is below one before it.

    >>> adjusted([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)  # nan last
    m = int(np.isfinite(p).sum())
    factors = np.maximum(m - np.arange(len(p)), 1)
    found = np.empty_like(p)
    found[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors))
    return found


def verdicts(
    pairs: Iterable[tuple[Sequence[Estimate], Sequence[Estimate]]], margin: float = MARGIN
) -> list[list[Verdict]]:
    """Return, for each pair of runs, the verdict on each quantity that both have.

    The p-values of all pairs are adjusted together.

    Args:
        pairs: the estimates of one run and of the other.
        margin: an appreciable difference, in units of the scale of each quantity.

    Raises:
        UsageError: the margin is not above 0.
    """
    require(margin > 0, "margin", margin, "must be above 0")
    matched = [_matched(first, second) for first, second in pairs]
    flat = [pair for of_pair in matched for pair in of_pair]
    tests = [(np.nan,) * 3 if _obstacle(a, b) else compare(a, b) for a, b in flat]
    p = adjusted([test[2] for test in tests]) if tests else np.empty(0)
    judged = iter(
        Verdict(a.quantity, a, b, *test, float(q), *_outcome(a, b, float(q), margin))
        for (a, b), test, q in zip(flat, tests, p, strict=True)
    )
    return [[next(judged) for _ in of_pair] for of_pair in matched]


def _matched(
    first: Sequence[Estimate], second: Sequence[Estimate]
) -> list[tuple[Estimate, Estimate]]:
    others = {each.quantity: each for each in second}
    return [(each, others[each.quantity]) for each in first if each.quantity in others]


def _obstacle(first: Estimate, second: Estimate) -> str:
    if first.flaw or second.flaw:
        sides = [side for side, each in (("first", first), ("second", second)) if each.flaw]
        which = "both" if len(sides) == 2 else f"the {sides[0]}"
        return f"{first.flaw or second.flaw} in {which}"
    if first.system != second.system:
        return "other units"
    return ""


def _outcome(first: Estimate, second: Estimate, p: float, margin: float) -> tuple[Outcome, str]:
    if obstacle := _obstacle(first, second):
        return "not compared", obstacle
    if p < LEVEL:
        return "differ", ""
    if not np.isnan(p) and agrees(first, second, margin):
        return "agree", ""
    return "cannot be told apart", ""
