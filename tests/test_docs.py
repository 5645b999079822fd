"""The Python blocks of these pages of the documentation are run, each page in one namespace."""

import re
from pathlib import Path

import pytest
import torch

from lightning_landscape import Probe
from lightning_landscape.__main__ import VERBS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.filterwarnings("ignore")  # what Lightning says of small loaders
@pytest.mark.parametrize("page", ["in_your_project", "exploration", "saddles"])
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in ("PROGRESS_BAR", "MODEL_SUMMARY", "CHECKPOINTING"):
        monkeypatch.setenv(f"PL_TRAINER_ENABLE_{option}", "False")
    text = (DOCS / f"{page}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert blocks
    namespace = {"__name__": "docs"}
    torch.manual_seed(0)
    for block in blocks:
        exec(block, namespace)
        assert all(has_measured(probe) for probe in probes_of(namespace))


def probes_of(namespace):
    """Those that are not there to fail: a probe that fails does not raise."""
    named = [p for name, p in namespace.items() if name not in ("lenient", "strict")]
    return [p for p in [*named, *namespace.get("probes", [])] if isinstance(p, Probe)]


def has_measured(probe):
    return probe.active and len(probe.results["step"]) > 0


def test_the_completion_on_the_first_page_has_all_verbs():
    (words,) = re.findall(r'complete -o default -W "(.*)"', (DOCS / "index.md").read_text())
    assert words.split() == list(VERBS)
