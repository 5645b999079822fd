"""EdgeOfStability in valleys of known curvature, and on the digits."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_landscape import testing as contract
from lightning_landscape.callbacks import EdgeOfStability
from lightning_landscape.data import Digits
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.modules import LandscapeModule

ALL = float("inf")


class TestContract(contract.ProbeContract):
    def make(self):
        return EdgeOfStability(first=1, last=20, max_products=6, max_share=ALL)


def run(module, steps, folder, probe):
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        callbacks=[probe],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module)
    return probe.dataset()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (partial(torch.optim.SGD, lr=0.1), 0.1 * 7 / 2),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.5), 0.1 * 7 / 3),
        (partial(torch.optim.SGD, lr=0.1, weight_decay=2.0), 0.1 * 9 / 2),
    ],
    ids=["gradient descent", "momentum", "weight decay"],
)
def test_in_a_valley_the_edge_is_known(make, expected, tmp_path):
    module = LandscapeModule(Quadratic([1.0, 3.0, 7.0], replicas=2, dtype="float64"), make)
    dataset = run(module, 5, tmp_path, EdgeOfStability(first=0.1, last=0.5, max_share=ALL))
    assert dataset["sharpness"].to_numpy() == pytest.approx(7.0, rel=1e-6)
    assert dataset["edge"].to_numpy() == pytest.approx(expected, rel=1e-6)
    x = module.energy.configuration()
    H = torch.tensor([1.0, 3.0, 7.0], dtype=torch.float64)
    g = H * x
    along = (H * g.square()).sum(1) / g.square().sum(1)
    assert dataset["batch_sharpness"].to_numpy()[-1] == pytest.approx(along.numpy(), rel=1e-9)


def test_groups_of_different_step_sizes(tmp_path):
    """Two parameters, E = 3 a^2 / 2 + 5 b^2 / 2, with lr = 0.4 and 0.1."""

    class Two(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

        def training_step(self, batch, batch_idx):
            return 1.5 * self.a.square().sum() + 2.5 * self.b.square().sum()

        def configure_optimizers(self):
            return torch.optim.SGD([{"params": [self.a], "lr": 0.4}, {"params": [self.b]}], lr=0.1)

        def train_dataloader(self):
            return [0] * 8

    dataset = run(Two(), 4, tmp_path, EdgeOfStability(first=1, last=3, max_share=ALL))
    assert dataset["sharpness"].to_numpy() == pytest.approx(5.0, rel=1e-5)
    assert dataset["edge"].to_numpy() == pytest.approx(0.4 * 3 / 2, rel=1e-5)
    assert dataset["batch_edge"].isnull().all()  # no single lr


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.RMSprop], ids=["Adam", "RMSprop"])
def test_a_preconditioner_is_that_of_a_dense_matrix(make, tmp_path):
    energy = NetworkEnergy(
        FullyConnected([64, 4, 10], replicas=1, seed=1, dtype="float64"), Digits()
    )
    module = LandscapeModule(energy, partial(make, lr=0.01))
    probe = EdgeOfStability(first=0.03, last=0.03, max_share=ALL, max_products=300)
    dataset = run(module, 3, tmp_path, probe)
    from lightning_landscape.curvature import hessian_of
    from lightning_landscape.dynamics.stability import edge_of

    edge = edge_of(module.dynamics)
    S = torch.cat([s.flatten() for s in edge.step_sizes])
    H = hessian_of(energy).dense()[0].double()
    expected = torch.linalg.eigvals(S.unsqueeze(1) * H).real.max() / edge.threshold
    assert dataset["edge"][-1].item() == pytest.approx(expected.item(), rel=1e-3)
    assert dataset["edge"][0].isnull().all()  # before the first step there is no preconditioner


def test_a_bound_that_is_not_known_is_left_out(tmp_path):
    module = LandscapeModule(Quadratic([1.0, 3.0]), partial(torch.optim.Adagrad, lr=0.1))
    probe = EdgeOfStability(first=1, last=3, max_share=ALL)
    dataset = run(module, 3, tmp_path, probe)
    assert dataset["edge"].isnull().all()
    assert probe.attributes["bound"] == "none is known"
