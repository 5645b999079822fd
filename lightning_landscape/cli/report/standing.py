"""Where the trainings of a report stand, from what their runs have measured."""

from __future__ import annotations

import html

from lightning_landscape.cli.report.runs import Run
from lightning_landscape.results.diagnosis import HEADER, verdicts

__all__ = ["standing"]

_MOST_OPEN = 3  # runs whose tables are unfolded


def standing(runs: list[Run]) -> str:
    """Return for each run the table of questions that its records answer; empty without any."""
    found = []
    for run in runs:
        if answers := verdicts(run.datasets):
            lines = [HEADER, *(answer.cells for answer in answers)]
            table = "".join(_line(cells, "td" if k else "th") for k, cells in enumerate(lines))
            found.append((run.name, table))
    unfolded = " open" if len(found) <= _MOST_OPEN else ""
    sections = "".join(
        f"<details{unfolded}><summary class='path'>{html.escape(name)}</summary>"
        f"<div class='scroll'><table>{table}</table></div></details>"
        for name, table in found
    )
    return f"<h2>Where the training stands</h2>{sections}" if found else ""


def _line(cells: tuple[str, ...], tag: str) -> str:
    text = "".join(f"<{tag} style='text-align: left'>{html.escape(c)}</{tag}>" for c in cells)
    return f"<tr>{text}</tr>"
