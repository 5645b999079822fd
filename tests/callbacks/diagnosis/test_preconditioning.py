"""Preconditioning in a valley of known curvature, and on networks."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_landscape import testing as contract
from lightning_landscape.callbacks import Preconditioning
from lightning_landscape.data import RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.diagnosis import verdicts
from lightning_landscape.testing.probe import bare_trainer


@pytest.mark.slow
class TestContract(contract.ProbeContract):
    def make(self):
        return Preconditioning(times=[0.0, 5.0], steps=4, products=4, follow=True)


def measured(module, folder, loader=None, **settings):
    probe = Preconditioning(follow=True, **settings)
    bare_trainer([probe], 1, folder).fit(module, loader)
    return probe.dataset().assign_attrs(probe.attributes).isel(t=[0])


def test_in_a_valley_prediction_and_descent_agree(tmp_path):
    """By fluctuations, P = H up to its damping: one step does what plain descent does in 50."""
    energy = Quadratic([0.05, 0.3, 1.0, 4.0], replicas=2, dtype="float64")
    module = LandscapeModule(energy, partial(torch.optim.SGD, lr=1e-9))
    dataset = measured(module, tmp_path, steps=50)
    at = dataset.isel(t=0)
    assert at["gain"].sel(preconditioner="none").to_numpy() == pytest.approx(1.0, rel=1e-6)
    best = at.sel(preconditioner="fluctuations")
    assert best["spread"].to_numpy() == pytest.approx(1.0, abs=0.05)
    assert (best["gain"] > 20).all()
    x = module.energy.configuration()[0]
    H = torch.tensor([0.05, 0.3, 1.0, 4.0], dtype=torch.float64)
    g = H * x
    spread = 4 * g.square().sum() / (H * g.square()).sum()
    assert float(at["spread"].sel(preconditioner="none")[0]) == pytest.approx(spread.item(), 1e-6)
    slow = at.sel(preconditioner="diagonal")
    assert slow["measured_gain"].to_numpy() == pytest.approx(slow["gain"].to_numpy(), rel=0.05)
    (verdict,) = verdicts({"Preconditioning": dataset})
    assert verdict.stands.startswith("yes: the fluctuations one")


class Uneven(pl.LightningModule):
    """A regression whose inputs have variances from 1 to 1e-3: badly conditioned."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(6, 2)

    def training_step(self, batch, batch_idx):
        return (self.net(batch[0]) - batch[1]).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


def test_a_foreign_batch_is_predicted_as_it_is_carried_out(tmp_path):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 6, generator=generator) * torch.logspace(0, -1.5, 6)
    y = torch.randn(64, 2, generator=generator) + x @ torch.randn(6, 2, generator=generator) * 9
    module = Uneven()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    dataset = measured(module, tmp_path, DataLoader([(x, y)] * 2, batch_size=None), steps=20)
    gain, done = (dataset.isel(t=0, replica=0)[n].to_numpy() for n in ("gain", "measured_gain"))
    assert done[1:] == pytest.approx(gain[1:], rel=0.1)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-3)


def test_replicas_of_a_network_are_followed(tmp_path):
    data = RandomData(samples=48, dimension=6)
    energy = NetworkEnergy(FullyConnected([6, 8, 1], "tanh", replicas=2), data, "squared")
    module = LandscapeModule(energy, partial(torch.optim.SGD, lr=1e-9))
    dataset = measured(module, tmp_path, steps=10)
    gain, done = (dataset.isel(t=0)[name] for name in ("gain", "measured_gain"))
    assert gain.shape == (2, 4) and done.notnull().any()
    near = abs(gain / done - 1) < 0.5
    assert bool(near.sel(preconditioner=["diagonal", "Kronecker"]).all())
