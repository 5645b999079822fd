"""The page of a report: what is in it, and what it survives."""

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.cli import report
from lightning_landscape.cli.report import document
from lightning_landscape.cli.report.runs import differences, read
from lightning_landscape.errors import UsageError

ATTRIBUTES = {"probe": "EnergyRelaxation", "temperature": 0.0, "N": 5, "replicas": 2}


def write(run, name="energy_relaxation", exact=None, **attributes):
    t, energy = np.array([1.0, 10.0]), np.array([[0.9, 1.1], [0.4, 0.6]])
    values = {"energy": (("t", "replica"), energy)}
    if exact is not None:
        values["energy_exact"] = ("t", exact)
    dataset = xarray.Dataset(values, coords={"t": t}, attrs=ATTRIBUTES | attributes)
    records.write(dataset, run / "probes" / f"{name}.nc")


def test_the_page_is_written_and_its_place_is_said(tmp_path, capsys):
    write(tmp_path / "logs" / "a")
    write(tmp_path / "logs" / "b")
    page = tmp_path / "page.html"
    assert report.main(["report", str(tmp_path / "logs"), "--output", str(page)]) == 0
    said = capsys.readouterr().out
    assert said.endswith(f"\n2 runs: {page}\n")
    assert "| E(t = 10) " in said and "agree" in said
    text = page.read_text()
    assert text.count("<img") == 2  # of each run
    assert text.count("<svg") == 1  # of both, on the same axes
    assert text.count("(not saved)") == 2  # their configurations


def test_a_number_far_from_the_exact_one_is_marked(tmp_path):
    write(tmp_path, exact=[1.0, 1.5])
    text = report.page(read([tmp_path]))
    assert "<td>1.00000</td><td>+0.0</td>" in text
    assert "<td>1.50000</td><td class='far'>-10.0</td>" in text


def test_one_sample_of_the_couplings_is_said(tmp_path):
    write(tmp_path, disorder="shared")
    assert "the error bars do not cover the disorder" in report.page(read([tmp_path]))


def test_configurations_and_names_are_escaped(tmp_path):
    run = tmp_path / "a<b"
    write(run, probe="<script>")
    (run / "config.yaml").write_text("x: 1 < 2")
    text = report.page(read([run]))
    assert "x: 1 &lt; 2" in text and "<h2>&lt;script&gt;</h2>" in text
    assert text.count("<script>") == 1  # our own


def test_records_of_no_kind_have_a_place_and_nothing_else(tmp_path):
    records.write(xarray.Dataset({"x": ("t", [1.0])}), tmp_path / "probes" / "unnamed.nc")
    text = report.page(read([tmp_path]))
    assert "<h2>unnamed</h2>" in text
    assert "<img" not in text


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no records there"):
        report.find_runs(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        report.find_runs(tmp_path / "missing")


def test_many_runs_share_their_panels_and_have_no_figures_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "_MOST_FIGURES", 2)
    for name in "abc":
        write(tmp_path / name)
    text = report.page(read([tmp_path / name for name in "abc"]))
    assert "The figure of each run is in its folder" in text
    assert text.count("<img") == 0 and text.count("<svg") == 1
    assert all(f'class="run run-{k}"' in text for k in range(3))


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    for name in "ab":
        write(tmp_path / name)
    text = report.page(read([tmp_path / "a", tmp_path / "b"]))
    assert "http" not in text.replace("http://www.w3.org", "")
    assert "<script src" not in text and "<link" not in text


def test_what_differs_between_configurations_is_shown(tmp_path):
    for name, lr in (("a", 0.1), ("b", 0.2)):
        write(tmp_path / name)
        (tmp_path / name / "config.yaml").write_text(f"model: {{lr: {lr}, N: 5}}")
    text = report.page(read([tmp_path / "a", tmp_path / "b"]))
    table = text[text.index("What differs") :]
    assert "<td>model.lr</td>" in table and "model.N" not in table
    assert "<td>0.1</td>" in table and "<td>0.2</td>" in table


def test_options_of_probes_are_compared_with_those_of_the_same_probe():
    first = "callbacks: [{class_path: a.B, init_args: {x: 1}}, {class_path: C, init_args: {y: 1}}]"
    other = "callbacks: [{class_path: C, init_args: {y: 2}}]"
    found = differences([first, other])
    assert found["callbacks.C.y"] == ["1", "2"]
    assert found["callbacks.B"] == ["given", ""]
