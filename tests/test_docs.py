"""The Python blocks of every page of the documentation are run, each page in one namespace."""

import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import xarray

from lightning_landscape import Probe, records

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SNIPPET = re.compile(r"^--8<--\n(\S+)\n--8<--$", flags=re.M)


def blocks(page):
    """The blocks of a page, with the files that it includes."""
    text = SNIPPET.sub(lambda found: (ROOT / found[1]).read_text(), page.read_text())
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


PAGES = [str(page.relative_to(DOCS)) for page in sorted(DOCS.rglob("*.md")) if blocks(page)]


def record_of_a_glass():
    """What a page reads that opens a record of the first example."""
    path = Path("logs/pspin/aging/version_0/probes/aging_correlation.nc")
    path.parent.mkdir(parents=True)
    axes = {"replica": [0, 1], "tw": [1.0, 10.0], "t": [0.1, 1.0, 10.0]}
    C = xarray.DataArray(torch.rand(2, 2, 3), axes, tuple(axes), name="C")
    records.write(C.to_dataset(), path)


BEFORE = {"concepts.md": record_of_a_glass}


@pytest.mark.filterwarnings("ignore")  # what Lightning says of small loaders
@pytest.mark.parametrize("page", PAGES)
def test_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    BEFORE.get(page, lambda: None)()
    for option in ("PROGRESS_BAR", "MODEL_SUMMARY", "CHECKPOINTING"):
        monkeypatch.setenv(f"PL_TRAINER_ENABLE_{option}", "False")
    namespace = {"__name__": "docs", "Trainer": pl.Trainer}
    torch.manual_seed(0)
    for block in blocks(DOCS / page):
        exec(compile(block, page, "exec", dont_inherit=True), namespace)
        assert all(has_measured(probe) for probe in probes_of(namespace))


def probes_of(namespace):
    """Those that are not there to fail: a probe that fails does not raise."""
    named = [p for name, p in namespace.items() if name not in ("lenient", "strict")]
    return [p for p in [*named, *namespace.get("probes", [])] if isinstance(p, Probe)]


def has_measured(probe):
    return probe.active and len(probe.results["step"]) > 0


def test_files_that_pages_include_are_marked_so():
    """A formatter that takes the mark for Python, ``--8 < --``, would put it on the page."""
    included = [name for page in DOCS.rglob("*.md") for name in SNIPPET.findall(page.read_text())]
    assert len(included) >= 4 and all((ROOT / name).is_file() for name in included)
    assert not any("--8 <" in page.read_text() for page in DOCS.rglob("*.md"))
