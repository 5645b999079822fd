"""The verb diagnose as users call it: of runs of ours and of anyone's module."""

import sys

import pytest
import pytorch_lightning as pl
import torch
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main

RUN = {
    "experiment": "parity",
    "model": {
        "energy": {
            "class_path": "NetworkEnergy",
            "init_args": {
                "architecture": {
                    "class_path": "FullyConnected",
                    "init_args": {"widths": [6, 12, 12, 1], "replicas": 3},
                },
                "data": {"class_path": "RandomData", "init_args": {"samples": 20, "dimension": 6}},
                "loss": "quadratic_hinge",
            },
        },
        "optimizer": {"class_path": "SGD", "init_args": {"lr": 0.1}},
        "batches": {"batch_size": 5},
    },
    "trainer": {"max_steps": 300, "accelerator": "cpu", "enable_progress_bar": False},
}
PROJECT = """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

def loader():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()
    return DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True)
"""


def test_of_a_run_of_ours(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    assert main(["fit", "--config", "run.yaml"]) == 0
    run = tmp_path / "logs/parity/version_0"
    before = (run / "checkpoints/last.ckpt").read_bytes()
    capsys.readouterr()
    assert main(["diagnose", "--checkpoint", str(run), "--steps", "30"]) == 0
    out = capsys.readouterr().out
    for question in ("near the edge", "through at initialization", "over-parametrized", "the floor",
                     "guessed alike", "larger than useful", "stationary"):  # fmt: skip
        assert question in out
    assert (run / "checkpoints/last.ckpt").read_bytes() == before
    edge = records.read(run / "diagnosis/probes/edge_of_stability.nc")
    assert edge.attrs["bound"] == "2/lr"
    assert not (tmp_path / "landscape_logs").exists()
    assert main(["report", str(run / "diagnosis"), "--output", "page.html"]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Where the training stands" in page and "Is the learning rate near the edge?" in page


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project.py").write_text(PROJECT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "project", raising=False)
    import project

    return project


def test_of_a_foreign_checkpoint_with_its_optimizer(project, tmp_path, capsys):
    module = project.Net()
    trainer = pl.Trainer(max_steps=40, accelerator="cpu", logger=False, enable_progress_bar=False,
                         enable_checkpointing=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(module, project.loader())
    trainer.save_checkpoint(tmp_path / "net.ckpt")
    names = ["--module", "project:Net", "--data", "project:loader", "--steps", "20"]
    assert main(["diagnose", *names, "--checkpoint", "net.ckpt", "--all_data"]) == 0
    out = capsys.readouterr().out
    assert "in units of 2(1 + β)/lr" in out
    assert "Left out:" in out and "quadratic hinge" in out
    assert (tmp_path / "diagnosis/diagnosis.md").read_text().strip() in out
    trained = records.read(tmp_path / "diagnosis/probes/edge_of_stability.nc")
    assert main(["diagnose", *names, "--save", "start"]) == 0
    initial = records.read(tmp_path / "start/probes/edge_of_stability.nc")
    assert not torch.allclose(
        torch.tensor(trained["sharpness"].values[0]), torch.tensor(initial["sharpness"].values[0])
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "names nothing to diagnose; give --checkpoint of a run of ours"),
        (["--checkpoint", "nowhere"], "checkpoint = nowhere: has no checkpoint"),
        (["--module", "project:Net", "--data", "project:loader", "--checkpoint", "x.ckpt"],
         "checkpoint = x.ckpt: is not a file"),
        (["--module", "project:Net"], "data = None: is needed with --module"),
        (["--checkpoint", "run", "--steps", "1"], "steps = 1: must be"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(arguments, sentence, project, capsys):
    assert main(["diagnose", *arguments]) == 2
    assert sentence in capsys.readouterr().err
