"""The verdict table of a report: which quantities agree, differ, or cannot be told apart."""

from __future__ import annotations

import html
from itertools import combinations
from textwrap import fill

import numpy as np

from lightning_landscape.cli.report.runs import Run
from lightning_landscape.results.comparison.verdict import (
    LEVEL,
    MARGIN,
    Estimate,
    Verdict,
    verdicts,
)
from lightning_landscape.results.registry import guarded, look_up
from lightning_landscape.results.table import aligned, with_error

__all__ = ["as_html", "as_text"]

_MOST_PAIRED = 6  # runs of which all pairs are compared; of more, each with the first
_MOST = 24  # runs that are compared with the first
_HEADER = ["quantity", "first", "second", "t", "dof", "p", "p adjusted", "verdict"]


def as_text(runs: list[Run], margin: float = MARGIN) -> str:
    """Return the verdicts on each pair of runs in Markdown; empty where there are none."""
    judged = [(pair, found) for pair, found in _judged(runs, margin) if found]
    if not judged:
        return ""
    parts = [
        f"{a.name} | {b.name}\n\n{aligned([_HEADER, *map(_cells, found)])}\n"
        for (a, b), found in judged
    ]
    return "\n".join([*parts, fill(_explanation(margin), 100), ""])


def as_html(runs: list[Run], margin: float = MARGIN) -> str:
    """Return the section of the page: an overview of all pairs, and a table for each."""
    judged = [(pair, found) for pair, found in _judged(runs, margin) if found]
    if not judged:
        return ""
    details = "".join(
        f"<details{' open' if len(judged) == 1 else ''}><summary class='path'>"
        f"{html.escape(a.name)} | {html.escape(b.name)}</summary>{_table(found)}</details>"
        for (a, b), found in judged
    )
    overview = _overview(judged) if len(judged) > 1 else ""
    note = f"<p class='note'>{html.escape(_explanation(margin))}</p>"
    return f"<h2>Do the runs agree?</h2>{overview}{details}{note}"


def _judged(runs: list[Run], margin: float) -> list[tuple[tuple[Run, Run], list[Verdict]]]:
    if not 2 <= len(runs) <= _MOST:
        return []
    few = len(runs) <= _MOST_PAIRED
    pairs = list(combinations(runs, 2)) if few else [(runs[0], other) for other in runs[1:]]
    estimates = {run.folder: _estimates(run) for run in runs}
    found = verdicts([(estimates[a.folder], estimates[b.folder]) for a, b in pairs], margin)
    return list(zip(pairs, found, strict=True))


def _estimates(run: Run) -> list[Estimate]:
    """Return those of all records of a run; of two with one name that of the first."""
    found: dict[str, Estimate] = {}
    for kind, record in run.records.items():
        with guarded(record.dataset, "verdict"):
            for estimate in look_up(kind).estimates(record.dataset, run.datasets):
                found.setdefault(estimate.quantity, estimate)
    return list(found.values())


def _explanation(margin: float) -> str:
    return (
        "Welch's t of the means over independent replicas, adjusted by Holm's method for the "
        f"number of tests on this page, of which none needs to be independent: p below {LEVEL:g} "
        f"differs. Runs agree where they differ by less than {margin:g} (relative; absolute for "
        "logarithms and exponents) at 95 % confidence, and cannot be told apart where the errors "
        "leave room for more. Runs with the same seed share their start, which makes the test "
        "cautious; where replicas share the couplings, the errors do not cover the disorder."
    )


def _cells(verdict: Verdict) -> list[str]:
    numbers = (verdict.statistic, verdict.dof, verdict.p_value, verdict.adjusted)
    formats = ("+.2f", ".1f", ".2g", ".2g")
    shown = [
        "" if np.isnan(number) else f"{number:{how}}"
        for number, how in zip(numbers, formats, strict=True)
    ]
    outcome = f"{verdict.outcome}: {verdict.why}" if verdict.why else verdict.outcome
    return [verdict.quantity, _value(verdict.first), _value(verdict.second), *shown, outcome]


def _value(estimate: Estimate) -> str:
    values, errors = np.atleast_1d(estimate.value), np.atleast_1d(estimate.error)
    pairs = zip(values, errors, strict=True)
    return ", ".join(with_error(float(value), float(error)) for value, error in pairs)


def _table(found: list[Verdict]) -> str:
    head = "".join(f"<th>{name}</th>" for name in _HEADER)
    lines = "".join(
        f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in _cells(v)[:-1])}"
        f"<td class='{_class(v)}'>{html.escape(_cells(v)[-1])}</td></tr>"
        for v in found
    )
    return f"<div class='scroll'><table><tr>{head}</tr>{lines}</table></div>"


def _overview(judged: list[tuple[tuple[Run, Run], list[Verdict]]]) -> str:
    """Return a table with a line for each quantity and a column for each pair."""
    quantities = dict.fromkeys(v.quantity for _, found in judged for v in found)
    head = "".join(
        f"<th class='path'>{html.escape(a.name)}<br>{html.escape(b.name)}</th>"
        for (a, b), _ in judged
    )
    columns = [{v.quantity: v for v in found} for _, found in judged]
    lines = "".join(
        f"<tr><td>{html.escape(quantity)}</td>"
        f"{''.join(_overview_cell(column.get(quantity)) for column in columns)}</tr>"
        for quantity in quantities
    )
    return f"<div class='scroll'><table><tr><th>quantity</th>{head}</tr>{lines}</table></div>"


def _overview_cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return "<td></td>"
    hint = html.escape(" | ".join(_cells(verdict)[1:]), quote=True)
    return f"<td class='{_class(verdict)}' title='{hint}'>{verdict.outcome}</td>"


def _class(verdict: Verdict) -> str:
    return {"agree": "agree", "differ": "differ"}.get(verdict.outcome, "note")
