"""The probe Criticality: theory for fully connected networks, brute force for others."""

from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_landscape import records
from lightning_landscape.callbacks import Criticality
from lightning_landscape.data import RandomData
from lightning_landscape.energies import (
    Copies,
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SmallConvNet,
    WithField,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)


def run_of(net, samples=20, **data):
    data = RandomData(samples=samples, dimension=net.widths[0], **data)
    return LandscapeModule(NetworkEnergy(net, data), partial(torch.optim.SGD, lr=0.1))


class TestContract(ProbeContract):
    def make(self):
        return Criticality(last=15)

    def landscape(self):
        return run_of(FullyConnected([6, 9, 9, 2], "tanh", replicas=4))


def fit(module, folder, steps=1, **options):
    bare_trainer([Criticality(last=steps, **options)], steps, folder).fit(module)
    return last_record(folder, "criticality")


@pytest.mark.parametrize("activation, skip", [("tanh", 0.0), ("gelu", 0.0), ("relu", 0.6)])
def test_networks_of_ours_agree_with_the_theory(activation, skip, tmp_path):
    net = FullyConnected([40, 100, 100, 100, 2], activation, replicas=40, skip=skip)
    record = fit(run_of(net, normalized=True), tmp_path)
    assert record["K"].dims == ("t", "replica", "layer") and record.sizes["layer"] == 4
    table = list(rows(record))
    compared = [r for r in table if r.deviation == r.deviation]
    assert len(compared) == 9 and all(abs(r.deviation) < 4.5 for r in compared)
    assert all(r.error < 0.15 * abs(r.exact) for r in compared)
    assert table[0].measured == pytest.approx(table[0].exact, rel=0.02)
    assert [axes.get_xlabel() for axes in draw(record).axes] == ["layer", "layer"]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda energy: WithL2(energy, 0.1),
        lambda energy: Copies(energy, 2),
        lambda energy: Copies(WithL2(energy, 0.1), 3),
        lambda energy: WithField(energy, 0.01, [0.0]),
    ],
    ids=["penalty", "copies", "copies with a penalty", "field"],
)
def test_what_wraps_the_energy_changes_nothing_at_the_start(wrapped, tmp_path):
    """Copies and twins are averaged, and start alike."""
    module = run_of(FullyConnected([6, 9, 9, 2], "tanh", replicas=4))
    plain = fit(module, tmp_path / "plain").isel(t=0)
    module = run_of(FullyConnected([6, 9, 9, 2], "tanh", replicas=4))
    module.energy = wrapped(module.energy)
    other = fit(module, tmp_path / "other").isel(t=0)
    np.testing.assert_allclose(plain["K"], other["K"], rtol=1e-6)
    np.testing.assert_allclose(plain["weight_variance"], other["weight_variance"], rtol=1e-6)


def test_copies_of_other_networks_are_refused(tmp_path):
    from lightning_landscape.data import Digits

    net = SmallConvNet([1, 8, 8], channels=[6, 6], replicas=2)
    module = LandscapeModule(Copies(NetworkEnergy(net, Digits()), 2))
    with pytest.raises(UsageError, match="copies of fully connected networks only"):
        fit(module, tmp_path)


def test_networks_with_replicas_of_a_module_are_measured(tmp_path):
    from lightning_landscape.data import Digits

    net = SmallConvNet([1, 8, 8], channels=[6, 6], replicas=2)
    energy = NetworkEnergy(net, Digits())
    record = fit(LandscapeModule(energy), tmp_path, samples=10)
    assert list(record["layer"].values) == ["0", "3", "7"] and record.sizes["replica"] == 2
    assert np.isnan(record["K_exact"][0, 1]) and record["K"].min() > 0


class Mlp(pl.LightningModule):
    """A user's project: six layers of PyTorch's default initialisation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.Linear(8, 300)]
        for _ in range(4):
            layers += [nn.Tanh(), nn.Linear(300, 300)]
        self.net = nn.Sequential(*layers, nn.Tanh(), nn.Linear(300, 2))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_a_project_of_the_user_is_measured_and_judged(tmp_path):
    module = Mlp()
    train(module, tmp_path, [Criticality(last=10)], max_epochs=1)
    record = records.read(next(tmp_path.rglob("criticality.nc")))
    assert record.attrs["skip"] == 0 and record.sizes["layer"] == 6
    at = record.isel(t=0, replica=0)
    np.testing.assert_allclose(at["weight_variance"], 1 / 3, rtol=0.05)
    exact = at["perpendicular_exact"]
    np.testing.assert_allclose(at["perpendicular"][1:4], exact[1:4], rtol=0.12)
    off = np.abs(np.log(at["K"] / at["K_exact"])) / at["chance"]
    assert off.max() < 4 and at["chance"][-2] > at["chance"][0]


def test_the_run_of_the_user_is_not_changed(tmp_path):
    with_probe, without = Mlp(), Mlp()
    train(with_probe, tmp_path, [Criticality(last=10)], max_epochs=1)
    train(without, tmp_path, [], max_epochs=1)
    for a, b in zip(with_probe.parameters(), without.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_landscape_without_layers_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"^energy = Quadratic: Criticality measures the layers"):
        fit(LandscapeModule(Quadratic([1.0])), tmp_path)


def test_a_wrong_layer_is_named(tmp_path, caplog):
    train(Classifier(), tmp_path, [Criticality(layers=["net.0", "net.9"])], max_epochs=1)
    assert "layers = net.9: is no submodule of Classifier" in caplog.text
