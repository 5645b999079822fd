"""Nothing from outside is trusted: configurations, checkpoints and records are data."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main

ENERGY = {"class_path": "Quadratic", "init_args": {"spectrum": [1.0, 3.0]}}
OPTIMIZER = {"class_path": "Langevin", "init_args": {"lr": 0.1}}
TRAP = "touch trapped"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """Work in an empty folder, where a module that leaves a trace can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("trap.py").write_text(
        "import pathlib\npathlib.Path('trapped').touch()\nclass Energy: pass\n"
    )


def config(**model):
    return {
        "experiment": "small",
        "model": {"energy": ENERGY, "optimizer": OPTIMIZER} | model,
        "trainer": {"max_steps": 5, "accelerator": "cpu", "enable_progress_bar": False},
    }


TRAPS = {
    "function": {"class_path": "os.system", "init_args": {"command": TRAP}},
    "class": {"class_path": "subprocess.Popen", "init_args": {"args": TRAP, "shell": True}},
    "posix": {"class_path": "posix.system", "init_args": {"command": TRAP}},
    "short": "os.system",
    "builtin": {"class_path": "builtins.exec", "init_args": {"source": "open('trapped', 'w')"}},
    "through another module": {"class_path": "torch.os.system", "init_args": {"command": TRAP}},
    "through ours": {
        "class_path": "lightning_landscape.records.os.system",
        "init_args": {"command": TRAP},
    },
    "other class": {"class_path": "torch.nn.Linear", "init_args": {"in_features": 3}},
}


@pytest.mark.parametrize("slot", ["optimizer", "energy"])
@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_what_is_no_class_for_its_slot_never_runs(trap, slot, capsys):
    Path("small.yaml").write_text(yaml.safe_dump(config(**{slot: trap})))
    assert main(["fit", "--config", "small.yaml"]) == 2
    error = capsys.readouterr().err
    assert f"model.{slot}" in error and error.count("\n") <= 6
    assert not Path("trapped").exists() and not Path("logs").exists()


@pytest.mark.parametrize(
    "option",
    [
        "--model.optimizer=os.system",
        "--model.optimizer.class_path=os.system",
        "--model.optimizer={class_path: os.system, init_args: {command: touch trapped}}",
        "--trainer.callbacks+=subprocess.Popen",
    ],
)
def test_nor_from_the_command_line(option, capsys):
    Path("small.yaml").write_text(yaml.safe_dump(config()))
    assert main(["fit", "--config", "small.yaml", option]) == 2
    assert "is of Python's standard library" in capsys.readouterr().err
    assert not Path("trapped").exists() and not Path("logs").exists()


@pytest.fixture
def foreign(monkeypatch):
    """A finished run in a folder from elsewhere."""
    Path("small.yaml").write_text(yaml.safe_dump(config()))
    assert main(["fit", "--config", "small.yaml"]) == 0
    return Path("logs/small/version_0")


@pytest.mark.parametrize(
    ("energy", "sentence"),
    [
        ({"class_path": "os.system"}, "model.energy.class_path = os.system"),
        ({"class_path": "trap.Energy"}, "give --allow trap if you trust it"),
        ("trap.Energy", "give --allow trap if you trust it"),
    ],
)
def test_the_configuration_of_a_foreign_folder_imports_nothing(foreign, energy, sentence, capsys):
    saved = yaml.safe_load((foreign / "config.yaml").read_text())
    saved["model"]["energy"] = energy
    (foreign / "config.yaml").write_text(yaml.safe_dump(saved))
    capsys.readouterr()
    assert main(["spectrum", "--checkpoint", str(foreign)]) == 2
    assert sentence in capsys.readouterr().err.replace("energy =", "energy.class_path =")
    assert not Path("trapped").exists()


def test_a_foreign_class_that_is_allowed_still_has_to_fit(foreign, capsys):
    saved = yaml.safe_load((foreign / "config.yaml").read_text())
    saved["model"]["energy"] = {"class_path": "trap.Energy"}
    (foreign / "config.yaml").write_text(yaml.safe_dump(saved))
    assert main(["spectrum", "--checkpoint", str(foreign), "--allow", "trap"]) == 2
    assert "trap.Energy does not correspond to a subclass of Energy" in capsys.readouterr().err


class Trap:
    def __reduce__(self):
        return os.system, (TRAP,)


def test_a_checkpoint_is_never_unpickled(foreign, capsys):
    checkpoint = foreign / "checkpoints/last.ckpt"
    checkpoint.unlink()
    torch.save({"state_dict": Trap(), "global_step": 5}, checkpoint)
    assert main(["spectrum", "--checkpoint", str(foreign)]) == 2
    other = ["fit", "--config", "small.yaml", "--experiment=b", f"--ckpt_path={checkpoint}"]
    assert main(other) == 2
    assert capsys.readouterr().err.count("is damaged, or no checkpoint of this package") == 2
    assert not Path("trapped").exists() and not Path("logs/b").exists()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--ckpt_path=https://localhost/a.ckpt", "ckpt_path = https://localhost/a.ckpt: is not on"),
        ("--ckpt_path=nowhere.ckpt", "ckpt_path = nowhere.ckpt: there is no such file"),
        ("--experiment=../..", "experiment = ../..: must be a folder inside save_dir"),
        ("--experiment=/etc/a", "experiment = /etc/a: must be a folder inside save_dir"),
        ("--allow=a b", "allow = a b: must be a module"),
    ],
)
def test_addresses_and_folders_from_outside_are_refused(option, sentence, capsys):
    Path("small.yaml").write_text(yaml.safe_dump(config()))
    assert main(["fit", "--config", "small.yaml", option]) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("logs").exists()


def record(path, **attributes):
    E = (("t", "replica"), np.ones((3, 2)))
    dataset = xarray.Dataset({"energy": E}, {"t": [0.0, 1.0, 2.0]}, attributes)
    records.write(dataset, path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"probe": "<script>alert(1)</script>"},
        {"probe": "EnergyRelaxation", "temperature": "<script>", "N": "text"},
        {"probe": "EnergyRelaxation", "energy": "$\\frac{<script>$"},
        {"probe": "EnergyRelaxation", "energy": "$"},
        {},
    ],
)
def test_a_page_runs_nothing_that_a_record_says(attributes):
    for name in ("a", "$b<script>"):
        record(Path(f"logs/{name}/probes/energy.nc"), **attributes)
    assert main(["report", "logs"]) == 0
    assert Path("report.html").read_text().count("<script>") == 1  # the page's own


def test_a_page_holds_nothing_from_outside_the_folder():
    Path("secret").write_text("the secret")
    record(Path("elsewhere/probes/energy.nc"), probe="Elsewhere")
    record(Path("logs/a/probes/energy.nc"), probe="Here")
    Path("logs/a/config.yaml").symlink_to(Path("secret").absolute())
    Path("logs/a/probes/link.nc").symlink_to(Path("elsewhere/probes/energy.nc").absolute())
    assert main(["report", "logs"]) == 0
    page = Path("report.html").read_text()
    assert "Here" in page and "secret" not in page and "Elsewhere" not in page


@pytest.mark.parametrize("size", [10**6, 10**10])
def test_a_small_record_of_large_arrays_is_refused(size, capsys):
    import h5netcdf

    Path("logs/a/probes").mkdir(parents=True)
    with h5netcdf.File("logs/a/probes/energy.nc", "w") as file:
        file.dimensions = {"t": size, "replica": 1000}
        file.create_variable("energy", ("t", "replica"), np.float64, chunks=(1, 1000))
    assert main(["report", "logs"]) == 2
    assert "declares arrays of" in capsys.readouterr().err


def test_a_binary_configuration_is_no_obstacle_to_a_page():
    record(Path("logs/a/probes/energy.nc"), probe="Here")
    Path("logs/a/config.yaml").write_bytes(b"\xff\x00<script>")
    assert main(["report", "logs"]) == 0
    assert Path("report.html").read_text().count("<script>") == 1  # the page's own


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 2), ("", 2), (None, 2)])
def test_a_folder_from_elsewhere_is_shown_and_asked_for(
    foreign, tmp_path, monkeypatch, capsys, answer, status
):
    """Nobody is asked where there is no terminal; then --yes is needed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    asked = []
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: answer is not None)
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or answer)
    spectrum = ["spectrum", "--checkpoint", str(tmp_path / foreign)]
    capsys.readouterr()
    assert main(spectrum) == status
    said = capsys.readouterr()
    assert "class_path: lightning_landscape.Quadratic" in said.out
    assert ("was not confirmed; give --yes" in said.err) == (status == 2)
    assert len(asked) == (answer is not None)
    if answer is None:
        assert main([*spectrum, "--yes"]) == 0
