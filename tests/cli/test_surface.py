"""The verb surface as users call it: of runs of ours and of anyone's module."""

import sys

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch import nn

from lightning_landscape import records
from lightning_landscape.__main__ import main

XOR = {
    "experiment": "xor",
    "model": {
        "energy": {
            "class_path": "NetworkEnergy",
            "init_args": {
                "architecture": {
                    "class_path": "FullyConnected",
                    "init_args": {"widths": [2, 4, 1], "activation": "tanh", "dtype": "float64"},
                },
                "data": {"class_path": "XOR"},
            },
        },
        "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.5}},
    },
    "trainer": {"max_steps": 200, "accelerator": "cpu", "enable_progress_bar": False},
}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two finished runs from different starts."""
    monkeypatch.chdir(tmp_path)
    network = XOR["model"]["energy"]["init_args"]["architecture"]["init_args"]
    for seed in (0, 1):
        network["seed"] = seed
        (tmp_path / "xor.yaml").write_text(yaml.safe_dump(XOR))
        assert main(["fit", "--config", "xor.yaml", "--new"]) == 0
    return [f"logs/xor/version_{k}" for k in (0, 1)]


def test_of_a_run_and_between_two(runs, capsys, tmp_path):
    assert main(["surface", "--checkpoint", runs[0], "--points", "5"]) == 0
    out = capsys.readouterr().out
    assert "loss at the weights" in out and "random_200.nc" in out
    record = records.read(tmp_path / runs[0] / "surface/random_200.nc")
    assert record["loss"].shape == (1, 5, 5)
    middle = record["loss"].sel(alpha=0, beta=0).item()
    assert (tmp_path / runs[0] / "surface/random_200.png").stat().st_size > 1000
    options = ["--to", runs[1], "--points", "9", "--images", "5", "--steps", "60"]
    assert main(["surface", "--checkpoint", runs[0], *options]) == 0
    assert "barrier along the elastic band" in capsys.readouterr().out
    path = records.read(tmp_path / runs[0] / "surface/path.nc")
    line, band = path["line_loss"].values, path["band_loss"].values
    assert line[0] == pytest.approx(middle, rel=1e-12)
    assert band[[0, -1]] == pytest.approx(line[[0, -1]], rel=1e-12)
    highest = max(line[0], line[-1])
    assert path.attrs["line_barrier"] == pytest.approx(line.max() - highest)
    assert path.attrs["band_barrier"] < path.attrs["line_barrier"]
    assert path["band_length"].values[-1] > path["line_length"].values[-1]


PROJECT = """
import torch, pytorch_lightning as pl
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(pl.LightningModule):
    def __init__(self, width=3):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1)).double()
    def training_step(self, batch, batch_idx):
        self.log("step", 1.0)
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

def loader():
    x = torch.arange(14, dtype=torch.float64).view(7, 2) / 7
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True).sin()), batch_size=3)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "surface_project.py").write_text(PROJECT)
    yield tmp_path
    sys.modules.pop("surface_project", None)


def test_of_anyones_module(project, capsys):
    import surface_project

    checkpoints = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module = surface_project.Net(width=4)
        checkpoints.append(f"{seed}.ckpt")
        torch.save({"state_dict": module.state_dict(), "global_step": 7}, checkpoints[-1])
    theirs = ["--module", "surface_project:Net", "--init", "{width: 4}"]
    theirs += ["--data", "surface_project:loader", "--checkpoint", checkpoints[0]]
    assert main(["surface", *theirs, "--points", "3", "--directions", "hessian"]) == 0
    record = records.read(project / "surface/hessian_7.nc")
    net = surface_project.Net(width=4)
    net.load_state_dict(torch.load(checkpoints[0])["state_dict"])
    x, y = surface_project.loader().dataset.tensors

    def loss():
        with torch.no_grad():
            return nn.functional.mse_loss(net.net(x), y).item()

    assert record["loss"].sel(alpha=0, beta=0).item() == pytest.approx(loss(), rel=1e-10)
    assert main(["surface", *theirs, "--to", checkpoints[1], "--points", "3", "--images", "2"]) == 0
    path = records.read(project / "surface/path.nc")
    ends = [nn.utils.parameters_to_vector(net.parameters()).detach().clone()]
    net.load_state_dict(torch.load(checkpoints[1])["state_dict"])
    ends.append(nn.utils.parameters_to_vector(net.parameters()).detach().clone())
    nn.utils.vector_to_parameters(sum(ends) / 2, net.parameters())
    assert path["line_loss"].values[1] == pytest.approx(loss(), rel=1e-10)
    assert path["line_length"].values[-1] == pytest.approx((ends[1] - ends[0]).norm().item())
    assert np.isfinite(path["band_loss"]).all() and path.sizes["image"] == 4
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--points", "1"], "points = 1"),
        (["--images", "-1"], "images = -1"),
        (["--mode", "test"], "mode = test"),
        (["--directions", "hesian"], "directions = hesian"),
        (["--directions", "trajectory"], "directions = trajectory"),
        (["--checkpoint", "nowhere"], "checkpoint = nowhere"),
        (["--module", "os:system"], "module.class_path = os.system"),
        (["--module", "surface_project:Missing"], "module = surface_project:Missing"),
        (["--module", "surface_project:loader"], "module = DataLoader"),
        (["--module", "surface_project:Net", "--init", "{depth: 3}"], "init"),
        (["--module", "surface_project:Net", "--init", "{width: 5}"], "checkpoint = a.ckpt"),
        (["--module", "surface_project:Net"], "data = None"),
        (["--module", "surface_project:Net", "--data", "surface_project:Net"], "data = "),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(project, options, sentence, capsys):
    import surface_project

    torch.save(surface_project.Net().state_dict(), "a.ckpt")
    assert main(["surface", "--checkpoint", "a.ckpt", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {sentence}") and len(error.splitlines()) <= 6


def test_a_checkpoint_that_would_run_something_is_refused(project, capsys):
    class Trap:
        def __reduce__(self):
            return print, ("caught",)

    torch.save({"state_dict": Trap()}, "trap.ckpt")
    theirs = ["--module", "surface_project:Net", "--data", "surface_project:loader"]
    assert main(["surface", "--checkpoint", "trap.ckpt", *theirs]) == 2
    captured = capsys.readouterr()
    assert "caught" not in captured.out and captured.err.startswith("error: checkpoint = trap.ckpt")


def test_a_module_without_training_step_is_refused(project, capsys):
    (project / "surface_project.py").write_text("from torch import nn\nNet = nn.Identity\n")
    sys.modules.pop("surface_project", None)
    torch.save({}, "a.ckpt")
    assert main(["surface", "--checkpoint", "a.ckpt", "--module", "surface_project:Net"]) == 2
    assert capsys.readouterr().err.startswith("error: module = Identity")
    assert issubclass(pl.LightningModule, nn.Module)
