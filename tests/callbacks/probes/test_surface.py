"""LossSurface in runs of ours and of others: exact, of all data, and without a trace."""

import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import records
from lightning_landscape.callbacks import LossSurface
from lightning_landscape.data import RandomData
from lightning_landscape.energies import (
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables.surfaces import random_directions
from lightning_landscape.testing.probe import ProbeContract, bare_trainer


class TestContract(ProbeContract):
    def make(self):
        return LossSurface(times=[0, 2], points=3)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def fit(module, folder, loader=None, steps=4, **options):
    probe = LossSurface(strict=True, **({"points": 5} | options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Lightning says of small loaders
        bare_trainer([probe], steps, folder).fit(module, loader)
    (path,) = folder.rglob("loss_surface.nc")
    return records.read(path)


def test_of_a_quadratic_it_is_exact(tmp_path):
    energy = Quadratic([0.5, 1.0, 2.0], rotate=True, replicas=2, dtype="float64")
    module = LandscapeModule(energy, sgd)
    record = fit(module, tmp_path, replica=1, extent=2.0, seed=3)
    x, A = energy.configuration()[1], energy.matrix
    d = random_directions([p[1] for p in energy.parameters()], 2, "none", seed=3)
    assert record["loss"].dims == ("t", "alpha", "beta") and record.sizes["t"] == 1
    for i, a in enumerate(record["alpha"].values):
        for j, b in enumerate(record["beta"].values):
            y = x + a * d[0] + b * d[1]
            assert record["loss"][0, i, j].item() == pytest.approx((y @ A @ y / 2).item())
    assert record["alpha"].values.tolist() == [-2, -1, 0, 1, 2]


def test_along_eigenvectors_the_curvatures_are_the_eigenvalues(tmp_path):
    energy = Quadratic([0.5, 1.0, 2.0], rotate=True, dtype="float64")
    record = fit(LandscapeModule(energy, sgd), tmp_path, directions="hessian")
    assert record["eigenvalue"].values[0] == pytest.approx([2.0, 1.0])
    loss, h = record["loss"].values[0], record["alpha"].values[1] - record["alpha"].values[0]
    for k, value in enumerate((2.0, 1.0)):
        row = loss[:, 2] if k == 0 else loss[2]
        assert np.diff(row, 2) / h**2 == pytest.approx([value] * 3)


def test_the_trajectory_lies_on_its_surface(tmp_path):
    """Gradient descent in a plane: two directions hold all of it, and the losses are its own."""
    energy = Quadratic([0.5, 2.0], dtype="float64", seed=1)
    start = energy.configuration()[0]
    record = fit(
        LandscapeModule(energy, sgd), tmp_path, directions="trajectory", times=[0.0, 0.1, 0.3]
    )
    assert record["explained"].values.sum() == pytest.approx(1.0)
    assert record["distance"].values == pytest.approx(0.0, abs=1e-12)
    path = record["path"].values
    shrink = torch.tensor([0.95, 0.8], dtype=torch.float64)
    points = torch.stack([start * shrink**n for n in (0, 1, 3, 4)])
    lengths = (points - points[-1]).norm(dim=1)
    assert np.linalg.norm(path, axis=1) == pytest.approx(lengths.numpy())
    far = np.abs(path).max(0)
    assert record["alpha"].values[-1] == pytest.approx(1.25 * far[0])


def test_of_the_held_out_data_of_an_energy(tmp_path):
    data = RandomData(samples=20, dimension=3, test_samples=30)
    energy = NetworkEnergy(FullyConnected([3, 4, 1], dtype="float64"), data)
    record = fit(LandscapeModule(energy, sgd), tmp_path, data="val", dimensions=1)
    middle = record["loss"].sel(alpha=0).item()
    assert middle == pytest.approx(energy.evaluate("test")["energy"].item(), rel=1e-12)


class Net(pl.LightningModule):
    """Batch norm and dropout, and a step that counts."""

    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(dropout), nn.Linear(4, 2)
        ).double()
        self.count = 0

    def training_step(self, batch, batch_idx):
        self.count += 1
        self.log("count", float(self.count))
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def samples(n=10):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(n, 3, generator=generator).double(), torch.arange(n) % 2


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_of_all_data_of_anyones_module(mode, tmp_path):
    """Against a loop that sets the parameters: batches of 4, 4 and 2 samples."""
    x, y = samples()
    module = Net()
    record = fit(module, tmp_path, DataLoader(TensorDataset(x, y), 4), mode=mode, points=3)
    net = module.net.train(mode == "train")
    theta = nn.utils.parameters_to_vector(net.parameters()).detach().clone()
    d = random_directions(list(net.parameters()))
    for i, a in enumerate(record["alpha"].values):
        for j, b in enumerate(record["beta"].values):
            nn.utils.vector_to_parameters(theta + a * d[0] + b * d[1], net.parameters())
            state = {k: v.clone() for k, v in net.state_dict().items()}
            with torch.no_grad():
                parts = [
                    len(u) * nn.functional.cross_entropy(net(u), v)
                    for u, v in zip(x.split(4), y.split(4), strict=True)
                ]
            expected = sum(parts).item() / len(x)
            net.load_state_dict(state)  # running averages
            assert record["loss"][0, i, j].item() == pytest.approx(expected, rel=1e-10)
    assert module.count == 4 and record.attrs["data"] == "train"


def test_dropout_has_the_same_masks_at_every_point(tmp_path):
    x, y = samples()
    loader = DataLoader(TensorDataset(x, y), 10)
    record = fit(Net(dropout=0.5), tmp_path, loader, dimensions=1, extent=1e-6, points=9)
    loss = record["loss"].values[0]
    assert np.ptp(loss) < 1e-4 and np.abs(np.diff(loss, 2)).max() < 1e-10


def test_of_the_current_batch_at_given_times(tmp_path):
    x, y = samples(8)
    loader = DataLoader(TensorDataset(x, y), 4)
    record = fit(Net(), tmp_path, loader, times=[0, 2], data="batch", points=3)
    assert record["t"].values.tolist() == [0.0, 2.0]
    with torch.no_grad():
        first = nn.functional.cross_entropy(Net().net(x[:4]), y[:4]).item()
    assert record["loss"].sel(t=0, alpha=0, beta=0).item() == pytest.approx(first, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"directions": "hessians"}, "directions"),
        ({"dimensions": 3}, "dimensions"),
        ({"points": 4}, "points"),
        ({"points": 1}, "points"),
        ({"extent": -1.0}, "extent"),
        ({"normalization": "filters"}, "normalization"),
        ({"mode": "test"}, "mode"),
        ({"times": [-1.0]}, "times"),
    ],
)
def test_arguments_out_of_range_are_refused(options, name):
    with pytest.raises(UsageError, match=f"^{name} ="):
        LossSurface(**options)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"data": "batch"}, "data"), ({"replica": 2}, "replica"), ({"mode": "eval"}, "mode"),
     ({"directions": "hessian"}, "directions")],
)  # fmt: skip
def test_what_does_not_go_with_a_run_is_refused(options, name, tmp_path):
    module = LandscapeModule(SphericalPSpin(6, dtype="float64"), sgd)
    with pytest.raises(UsageError, match=f"^{name} ="):
        fit(module, tmp_path, **options)


def test_there_is_no_batch_after_a_run(tmp_path):
    x, y = samples()
    with pytest.raises(UsageError, match=r"^data = batch.*give times"):
        fit(Net(), tmp_path, DataLoader(TensorDataset(x, y), 4), data="batch")


def test_a_run_too_short_for_a_trajectory_ends_without_a_surface(tmp_path, caplog):
    module = LandscapeModule(Quadratic([0.5, 2.0], dtype="float64"), sgd)
    record = fit(module, tmp_path, steps=1, directions="trajectory")
    assert "loss" not in record and "too few for a surface" in caplog.text
