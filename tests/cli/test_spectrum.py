import pytest
import torch
import xarray
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main

GLASS = {
    "experiment": "glass",
    "model": {
        "energy": {
            "class_path": "SphericalPSpin",
            "init_args": {"N": 16, "p": 3, "replicas": 3, "seed": 1},
        },
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02, "temperature": 0.3}},
    },
    "trainer": {
        "max_steps": 20,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "callbacks": [
            {
                "class_path": "HessianSpectrum",
                "init_args": {"first": 0.2, "last": 0.4, "k": 4, "max_share": float("inf")},
            }
        ],
    },
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run with a probe, whose last measurement is at the last checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glass.yaml").write_text(yaml.safe_dump(GLASS))
    assert main(["fit", "--config", "glass.yaml"]) == 0
    return tmp_path / "logs/glass/version_0"


@pytest.mark.parametrize("name", ["", "checkpoints/last.ckpt"])
def test_the_checkpoint_has_the_spectrum_that_the_probe_measured(run, name, capsys):
    assert main(["spectrum", "--checkpoint", str(run / name), "--top", "4"]) == 0
    ours = records.read(run / "spectrum/step_20.nc")
    probe = records.read(run / "probes/hessian_spectrum.nc").isel(t=[-1])
    assert ours["t"] == 0.4 and ours.sizes["rank"] == 4
    ours.attrs.pop("config"), probe.attrs.pop("config")
    xarray.testing.assert_identical(ours, probe)
    out = capsys.readouterr().out
    assert "λ_max(t = 0.4)" in out and "step_20.nc" in out
    assert (run / "spectrum/step_20.png").stat().st_size > 1000
    # beside the record of the run, which stays as it is
    assert [path.name for path in (run / "probes").iterdir()] == ["hessian_spectrum.nc"]


def test_pyhessian_and_eigenvectors_on_request(run, capsys):
    options = ["--backend", "pyhessian", "--eigenvectors", "--top", "2"]
    assert main(["spectrum", "--checkpoint", str(run), *options]) == 0
    record = records.read(run / "spectrum/step_20.nc")
    assert record.attrs["backend"] == "pyhessian"
    assert record["highest_vector"].shape == (1, 3, 2, 16)


def test_a_network_is_rebuilt_with_its_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = {
        "class_path": "NetworkEnergy",
        "init_args": {
            "architecture": {"class_path": "FullyConnected", "init_args": {"widths": [8, 4, 1]}},
            "data": {"class_path": "RandomData", "init_args": {"samples": 50, "dimension": 8}},
            "loss": "quadratic_hinge",
        },
    }
    config = GLASS | {"model": {"energy": network, "optimizer": {"class_path": "torch.optim.SGD"}}}
    (tmp_path / "network.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "network.yaml", "--trainer.callbacks=null"]) == 0
    run = tmp_path / "logs/glass/version_0"
    assert main(["spectrum", "--checkpoint", str(run)]) == 0
    record = records.read(run / "spectrum/step_20.nc")
    assert record.sizes["eigenvalue"] == 8 * 4 + 4 + 4 + 1
    assert "classes" not in record.attrs  # one output tells two classes apart


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--checkpoint nowhere", "checkpoint = nowhere: has no checkpoint"),
        ("--checkpoint logs/glass/version_0 --top 0", "k = 0"),
        ("--checkpoint stray/checkpoints/last.ckpt", "no config.yaml in its run"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_2(run, capsys, arguments, sentence):
    stray = run.parents[2] / "stray/checkpoints"
    stray.mkdir(parents=True)
    torch.save({}, stray / "last.ckpt")
    capsys.readouterr()
    assert main(["spectrum", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("error: ")
