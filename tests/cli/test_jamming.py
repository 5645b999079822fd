"""The verb jamming as users call it."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import xarray
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main
from lightning_landscape.results.summary import rows


@pytest.fixture
def small(small_jamming):
    return small_jamming(seeds=3, rounds=2, steps=50)


@pytest.fixture
def config(tmp_path, monkeypatch, small):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(small))
    return "small.yaml"


def test_it_prints_its_table_and_writes_record_and_figure(config, capsys):
    assert main(["jamming", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "r_c = P*/N (depth 1, N = 24)" in out and "3 (Geiger 2019, N ~ 8000)" in out
    assert "report logs/small/version_0" in out and "TensorBoard" not in out
    run = Path("logs/small/version_0")
    dataset = records.read(run / "probes/jamming.nc")
    assert dataset.sizes["run"] == 6
    assert yaml.safe_load(dataset.attrs["config"])["jamming"]["steps"] == 50
    assert (run / "figures/jamming.png").stat().st_size > 1000
    assert main(["report", str(run)]) == 0


def test_a_scan_has_its_own_table(config, capsys, small):
    scan = {"class_path": "Scan", "init_args": small["jamming"]["plan"]["init_args"].copy()}
    for name in ("rounds", "error"):
        scan["init_args"].pop(name)
    scan["init_args"]["samples"] = [40, 80]
    perturbation = {"optimizer": small["jamming"]["optimizer"], "steps": 20, "times": 2}
    changed = small | {"jamming": small["jamming"] | {"plan": scan, "perturbation": perturbation}}
    Path("scan.yaml").write_text(yaml.safe_dump(changed | {"experiment": "scan"}))
    assert main(["jamming", "--config", "scan.yaml", "--jamming.test_error=true"]) == 0
    out = capsys.readouterr().out
    for quantity in ("jammed share", "N_Δ/N of the jammed", "early stopping", "avalanche"):
        assert f"{quantity} (depth 1, N = 24, P/N = 3.33)" in out


def test_the_transition_in_width_has_its_own_table_and_figure(config, capsys, small):
    study = small["jamming"]["plan"]["init_args"]
    family = study["families"][0] | {"widths": [2, 9]}
    options = {"families": [family], "samples": [40, 60], "seeds": 3, "rounds": 1}
    in_width = {"class_path": "CriticalWidth", "init_args": options}
    changed = small | {"jamming": small["jamming"] | {"plan": in_width}}
    Path("width.yaml").write_text(yaml.safe_dump(changed | {"experiment": "width"}))
    assert main(["jamming", "--config", "width.yaml"]) == 0
    out = capsys.readouterr().out
    for P in (40, 60):
        assert f"r_c = P/N* (depth 1, P = {P})" in out
    assert Path("logs/width/version_0/figures/jamming.png").is_file()


@pytest.mark.parametrize("varied", ["P", "h"])
def test_the_line_has_the_exponent_that_it_was_made_with(varied):
    """P = 2 N^1.25, with errors of 1 % of what was varied."""
    N = np.array([100.0, 200.0, 400.0])
    P = 2 * N**1.25
    columns = {
        "point_depth": [2, 2, 2],
        "point_N": N,
        "point_P": P,
        "ratio": P / N,
        "ratio_error": 0.01 * P / N,
        "bound": [0, 0, 0],
    }
    dataset = xarray.Dataset(
        {name: ("points", values) for name, values in columns.items()},
        attrs={"probe": "JammingTransition", "varied": varied},
    )
    row = next(row for row in rows(dataset) if row.quantity == "b of the line P ∝ N^b (depth 2)")
    assert row.measured == pytest.approx(1.25)
    given = np.log(P if varied == "h" else N)
    relative = 1.25**2 if varied == "h" else 1
    assert row.error == pytest.approx(relative * 0.01 / (np.ptp(given) / 2**0.5))


def test_a_study_killed_at_any_moment_ends_with_the_same_record(config, start):
    more = ["--jamming.plan.rounds=6"]
    main(["jamming", "--config", config, *more, "--save_dir=whole"])
    run = Path("logs/small/version_0")
    process = start("jamming", "--config", config, *more)
    while not (run / "probes/jamming.nc").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert records.read(run / "probes/jamming.nc").sizes["run"] < 18
    assert main(["jamming", "--config", config, *more]) == 0
    assert os.listdir("logs/small") == ["version_0"]
    ours, whole = (
        records.read(f"{top}/small/version_0/probes/jamming.nc") for top in ("logs", "whole")
    )
    ours.attrs.pop("config"), whole.attrs.pop("config")
    xarray.testing.assert_identical(ours, whole)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--jamming.steps=0", "steps = 0"),
        ("--jamming.plan.seeds=0", "seeds = 0"),
        ("--jamming.plan=CriticalLaod", "there is no class CriticalLaod"),
        ("--jamming.optimizer.lr=0", "lr = 0"),
        ("--jamming.step=5", "jamming.step: there is no such option (did you mean jamming.steps?)"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(config, capsys, arguments, sentence):
    assert main(["jamming", "--config", config, *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("error: ") and error.count("\n") == 1
