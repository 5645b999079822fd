"""The page of a report: what is in it, and what it survives."""

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.cli import report
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
    assert capsys.readouterr().out == f"2 runs: {page}\n"
    text = page.read_text()
    assert text.count("<img") == 3  # of each run, and side by side
    assert text.count("not saved") == 2  # their configurations


def test_a_number_far_from_the_exact_one_is_marked(tmp_path):
    write(tmp_path, exact=[1.0, 1.5])
    text = report.page([tmp_path])
    assert "<td>1.00000</td><td>+0.0</td>" in text
    assert "<td>1.50000</td><td class='far'>-10.0</td>" in text


def test_one_sample_of_the_couplings_is_said(tmp_path):
    write(tmp_path, disorder="shared")
    assert "the error bars do not cover the disorder" in report.page([tmp_path])


def test_configurations_and_names_are_escaped(tmp_path):
    run = tmp_path / "a<b"
    write(run, probe="<script>")
    (run / "config.yaml").write_text("x: 1 < 2")
    text = report.page([run])
    assert "x: 1 &lt; 2" in text and "<h2>&lt;script&gt;</h2>" in text
    assert "<script>" not in text


def test_records_of_no_kind_have_a_place_and_nothing_else(tmp_path):
    records.write(xarray.Dataset({"x": ("t", [1.0])}), tmp_path / "probes" / "unnamed.nc")
    text = report.page([tmp_path])
    assert "<h2>unnamed</h2>" in text
    assert "<img" not in text


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no records there"):
        report.find_runs(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        report.find_runs(tmp_path / "missing")


def test_many_runs_have_their_own_figures_and_none_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_MOST_SIDE_BY_SIDE", 2)
    for name in "abc":
        write(tmp_path / name)
    text = report.page([tmp_path / name for name in "abc"])
    assert "No figure of more than 2 runs." in text
    assert text.count("<img") == 3
