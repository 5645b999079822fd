"""A probe and its result from outside the package, found through an entry point."""

import logging
import runpy
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import xarray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_landscape import records
from lightning_landscape.__main__ import main as cli
from lightning_landscape.errors import UsageError
from lightning_landscape.results import Result, register, registry
from lightning_landscape.results.registry import GROUP, look_up
from lightning_landscape.results.summary import rows, summarize

EXAMPLE = Path(__file__).parents[2] / "examples" / "new_probe.py"


def install(folder, entry_points):
    """Write what pip leaves of a package beside its modules."""
    information = folder / "new_probe-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: new-probe\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    main = runpy.run_path(str(EXAMPLE))["main"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on small runs
        return main(tmp_path_factory.mktemp("logs"))


def test_the_run_has_record_figure_and_rows(run):
    record = records.read(run / "probes" / "mean_square.nc")
    table = list(rows(record))
    assert [row.quantity for row in table] == [f"⟨x²⟩(t = {t})" for t in ("0", "0.4", "1.8", "10")]
    assert table[0].exact == 1
    # x <- (1 - dt) x + noise of variance 2 T dt, eight times
    assert table[1].exact == pytest.approx(0.95**16 + 0.05 * (1 - 0.95**16) / (1 - 0.95**2))
    assert all(abs(row.deviation) < 4 for row in table)
    assert (run / "figures" / "mean_square.png").is_file()
    assert table[3].quantity in summarize(run).full
    events = EventAccumulator(str(run)).Reload()
    (image,) = events.Images("MeanSquare/draw")
    assert (image.step, image.width) == (200, 660)


def test_a_report_finds_the_installed_package_without_importing_it_first(
    run, tmp_path, monkeypatch
):
    site, page = tmp_path / "site", tmp_path / "report.html"
    install(site, "MeanSquare = new_probe")
    shutil.copy(EXAMPLE, site)
    other = tmp_path / "other"
    shutil.copytree(run / "probes", other / "probes")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(registry._known, "MeanSquare")  # of the run above
    monkeypatch.delitem(sys.modules, "new_probe", raising=False)
    assert cli(["report", str(run), str(other), "--output", str(page)]) == 0
    assert Path(sys.modules.pop("new_probe").__file__).parent == site
    text = page.read_text()
    assert "<h2>MeanSquare</h2>" in text
    assert text.count("⟨x²⟩(t = 0.4)") == 3  # of each run, and side by side
    assert text.count("<img") == 2 and text.count("<svg") == 1


def test_an_entry_point_that_fails_is_one_sentence(tmp_path, monkeypatch, caplog):
    install(tmp_path, "Broken = no_such_module\nIdle = this_registers_nothing")
    (tmp_path / "this_registers_nothing.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert list(look_up("Broken").rows(xarray.Dataset())) == []
            assert look_up("Idle").panels(xarray.Dataset()) == []
    broken, idle = (record.getMessage() for record in caplog.records)
    assert broken.startswith("entry point Broken = no_such_module: cannot be loaded: Module")
    assert idle == "entry point Idle = this_registers_nothing: does not register Idle"


def test_a_result_that_fails_costs_its_rows_and_figure_only(tmp_path, caplog):
    @register("Fails")
    class Fails(Result):
        def rows(self, dataset):
            raise ValueError("rows are out")

        def panels(self, dataset):
            return [lambda dataset, axes: axes.plot(dataset["no such variable"])]

    attributes = {"probe": "Fails", "temperature": 0.0, "N": 1, "replicas": 1}
    records.write(xarray.Dataset(attrs=attributes), tmp_path / "probes" / "fails.nc")
    with caplog.at_level(logging.WARNING):
        text = summarize(tmp_path).full
    assert text.startswith("records ")
    assert caplog.messages[0] == "no rows of Fails: ValueError: rows are out"
    assert caplog.messages[1].startswith("no figure of Fails: KeyError")


def test_a_kind_of_the_package_cannot_be_taken():
    with pytest.raises(UsageError, match="kind = EnergyRelaxation"):
        register("EnergyRelaxation")(type("Mine", (Result,), {}))


def test_a_name_in_a_record_is_never_imported(tmp_path):
    dataset = xarray.Dataset(attrs={"probe": "antigravity"})
    assert list(rows(dataset)) == []
    assert "antigravity" not in sys.modules
