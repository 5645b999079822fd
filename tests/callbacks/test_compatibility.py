"""Which probe measures which kind of project: the table in the docs is what is found here.

With ``UPDATE_DOCS=1`` in the environment the table is written instead of compared.
"""

import math
import os
import re
from pathlib import Path

import pytest

from lightning_landscape.callbacks import (
    AgingCorrelation,
    EnergyRelaxation,
    GradientNoise,
    HessianSpectrum,
    LearningCoefficient,
    NoiseSpectrum,
    Stationarity,
)
from lightning_landscape.testing.foreign import FORMS
from lightning_landscape.testing.memories import MEMORIES
from lightning_landscape.testing.probe import Classifier, TwoOptimizers, train

PAGE = Path(__file__).parents[2] / "docs" / "in_your_project.md"
KINDS = {
    "dropout and batch norm": Classifier,
    "manual optimization, `energy(batch)`": TwoOptimizers,
    **MEMORIES,
    **FORMS,
}
TIMES = {"first": 2, "last": 5, "per_decade": 2}


def probes():
    spectrum = {"k": 1, "random_vectors": 2}
    return [
        EnergyRelaxation(**TIMES),
        AgingCorrelation([1], **TIMES),
        HessianSpectrum(**TIMES, **spectrum, max_share=math.inf),
        GradientNoise(**TIMES, groups=2),
        NoiseSpectrum(**TIMES, **spectrum, groups=2),
        Stationarity(last=4),
        LearningCoefficient(**TIMES, lr=1e-3, steps=2, burn_in=0, temperature=0.1),
    ]


def outcome(probe, complete):
    """Return yes, or partly where it measured less than in a plain project, or no."""
    found = next((v for name, v in probe.results.items() if name in probe.dims and len(v)), None)
    rows = 0 if found is None else int(found.flatten(1).isfinite().any(1).sum())
    if isinstance(probe, Stationarity):
        rows = len(probe.results.get("step", []))
    if isinstance(probe, AgingCorrelation):
        rows = int(probe.results["MSD"].isfinite().sum()) if probe.results else 0
    if complete is None:
        return rows
    return "yes" if rows >= complete and probe.active else "partly" if rows else "no"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    plain = probes()
    train(Classifier(), folder, plain, max_epochs=1)
    complete = [outcome(probe, None) for probe in plain]
    assert min(complete) > 0
    names = [f"`{type(probe).__name__}`" for probe in plain]
    lines = ["| kind of project | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for kind, module in KINDS.items():
        measured = probes()
        train(module(), folder, measured, max_epochs=1)
        cells = map(outcome, measured, complete)
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def test_the_table_of_the_docs_is_what_is_found(table):
    mark = r"(?<=<!-- compatibility -->\n\n).*?(?=\n\n<!-- end -->)"
    page = PAGE.read_text()
    if os.environ.get("UPDATE_DOCS"):
        page = re.sub(mark, lambda _: table, page, flags=re.S)
        PAGE.write_text(page)
    shown = re.search(mark, page, flags=re.S)
    assert shown is not None
    assert shown[0] == table
