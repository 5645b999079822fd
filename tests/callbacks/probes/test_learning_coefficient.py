"""The probe LearningCoefficient: right in a quadratic well, and a probe like any other."""

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.callbacks import LearningCoefficient
from lightning_landscape.callbacks.all_data import AllData
from lightning_landscape.callbacks.mean_over_data import energy_of_data
from lightning_landscape.callbacks.view import View
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import ProbeContract, bare_trainer, last_record


class TestContract(ProbeContract):
    def make(self):
        return LearningCoefficient(lr=0.01, steps=8, burn_in=2, temperature=0.01, last=15)


def fit(energy, probe, folder, steps=1):
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(LandscapeModule(energy))
    return last_record(folder, "learning_coefficient")


def test_at_the_bottom_of_a_well_it_is_half_the_dimension(tmp_path):
    energy = Quadratic([1.0, 2.0, 4.0, 8.0], replicas=300, start=0.0)
    probe = LearningCoefficient(
        lr=0.05, steps=500, burn_in=100, temperature=1e-4, localisation=1.0, first=1e-3, last=1e-3
    )
    record = fit(energy, probe, tmp_path)
    assert record["learning_coefficient"].dims == ("t", "replica")
    row, doubled = rows(record)
    assert doubled.measured == pytest.approx(2 * row.measured)
    assert doubled.error == pytest.approx(2 * row.error)
    assert row.error < 0.02
    assert row.measured == pytest.approx(2.0, abs=4 * row.error)
    assert draw(record).axes[0].get_xlabel() == "t"


def test_the_temperature_is_that_of_watanabe_where_there_are_samples(tmp_path):
    data = RandomData(samples=30, dimension=4)
    energy = NetworkEnergy(FullyConnected([4, 3, 2], replicas=2), data)
    record = fit(energy, LearningCoefficient(lr=0.01, steps=4, burn_in=1, last=1), tmp_path)
    assert record.attrs["chain_temperature"] == pytest.approx(math.log(30) / 30)


def test_without_samples_a_temperature_is_asked_for(tmp_path):
    with pytest.raises(UsageError, match="give a temperature"):
        fit(Quadratic([1.0]), LearningCoefficient(lr=0.01, last=1), tmp_path)


@pytest.mark.parametrize("change", ["lr", "steps", "temperature"])
def test_impossible_arguments_are_refused(change):
    with pytest.raises(UsageError, match=f"^{change} ="):
        LearningCoefficient(**{"lr": 0.1, change: 0})


def test_on_a_ladder_the_coldest_replicas_are_the_nearest_to_the_minimum(tmp_path):
    """Hot ones start high above it: their coefficient, of a negative energy, is not shown."""
    energy = Quadratic([1.0, 2.0], replicas=200, start=0.0)
    module = LandscapeModule(energy, lambda p: Langevin(p, 0.1, [1e-9, 1e-2]))
    probe = LearningCoefficient(0.1, steps=400, burn_in=100, temperature=1e-4, first=2, last=2)
    bare_trainer([probe], 20, tmp_path).fit(module)
    record = last_record(tmp_path, "learning_coefficient")
    assert record["learning_coefficient"].isel(replica=slice(100, None)).mean() < -10
    row, doubled = rows(record)
    assert "from T = 1e-09" in row.quantity
    assert doubled.measured == pytest.approx(2.0, abs=4 * doubled.error) and doubled.error < 0.1


class Regression(pl.LightningModule):
    """x -> w x for scalar x of mean square 1: the loss is that of a well of curvature 2."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def training_step(self, batch, batch_idx):
        return ((batch[0] * (self.w - 1)).sum(1) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def samples():
    """Batches of 2, 2 and 1 samples: each lacks a direction of the five."""
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    return DataLoader(TensorDataset(x.double()), 2)


def test_of_all_data_it_is_that_of_the_model_and_not_of_a_batch(tmp_path):
    """Two parameters give lam / (lam + T) / 2 each, and a batch, which sees one of them, 1/2."""
    probe = LearningCoefficient(
        lr=0.8, steps=300, burn_in=20, temperature=1e-2, data="train", last=1
    )
    bare_trainer([probe], 1, tmp_path).fit(Regression(), samples())
    found = {name: probe.results[name].item() for name in
             ("learning_coefficient", "error", "batch_learning_coefficient", "energy")}  # fmt: skip
    lam = torch.tensor([2 * 2 / 5, 2 * 3 / 5])
    exact = (lam / (lam + 1e-2)).sum().item() / 2
    assert found["error"] < 0.15
    assert abs(found["learning_coefficient"] - exact) < 4 * found["error"]
    assert abs(found["batch_learning_coefficient"] - 0.5) < 0.25
    assert found["energy"] == 0


@pytest.mark.filterwarnings("ignore:.*fork")
def test_of_all_data_two_ranks_run_the_chains_of_one(tmp_path):
    """Of five samples one has three, and the other two; the ranks' own batches differ."""
    found = []
    for ranks in ({}, {"strategy": "ddp_fork", "devices": 2}):
        probe = LearningCoefficient(
            lr=0.5, steps=20, burn_in=2, temperature=1e-2, data="train", last=1, strict=True
        )
        bare_trainer([probe], 1, tmp_path, **ranks).fit(Regression(), samples())
        found.append(last_record(tmp_path, probe.name).isel(t=0, replica=0))
    one, two = found
    for name in ("learning_coefficient", "error", "mean_energy", "energy"):
        assert two[name].item() == pytest.approx(one[name].item(), rel=1e-10, abs=1e-12), name
    assert np.isfinite(two["batch_learning_coefficient"].item())
    assert two.attrs["chain_temperature"] == one.attrs["chain_temperature"]


def test_the_temperature_is_that_of_the_number_of_samples_of_the_data(tmp_path):
    probe = LearningCoefficient(lr=0.1, steps=2, burn_in=0, data="train", last=1)
    bare_trainer([probe], 1, tmp_path).fit(Regression(), samples())
    assert probe.attributes["chain_temperature"] == pytest.approx(math.log(5) / 5)


def test_energy_and_gradient_of_all_data_are_those_of_one_batch():
    module, loader = Regression(), samples()
    torch.nn.init.constant_(module.w, 2.0)
    whole = View(module, [loader.dataset.tensors[0]], 0)
    with whole.measuring():
        energy = energy_of_data(whole, AllData(loader))
        value = energy()
        (gradient,) = torch.autograd.grad(3 * value.sum(), [module.w])
        assert value.item() == pytest.approx(whole.energy().item(), rel=1e-14)
        assert gradient.tolist() == pytest.approx((3 * whole.gradient()[0]).tolist(), rel=1e-14)
        with torch.no_grad():
            assert energy().item() == pytest.approx(value.item(), rel=1e-14)
