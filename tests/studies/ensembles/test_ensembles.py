"""Ensembles over depth and width: the trained networks against their kernels."""

from functools import partial

import numpy as np
import pytest
import torch

from lightning_landscape import records
from lightning_landscape.data import Digits, OnSphere, RandomData, Subset
from lightning_landscape.dynamics import LayerRates
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.errors import UsageError
from lightning_landscape.results.quantities.ensembles.aspect_ratio import by_depth
from lightning_landscape.results.quantities.ensembles.nearly_kernel import (
    by_width,
    mean_projection,
    variance_ratio,
)
from lightning_landscape.studies import Experiment, Processes
from lightning_landscape.studies.ensembles import AspectRatio, NearlyKernel
from lightning_landscape.studies.ensembles.rounds import EnsembleRound

PARITY = Digits(parity=True)


def descent(lr):
    return LayerRates(partial(torch.optim.SGD, lr=lr), activation="tanh")


def run(study, path):
    Experiment(study, Processes(1)).run(path, {"config": ""}, lambda line: None)
    return records.read(path)


def aspect_ratio(depths, **options):
    data = Subset(PARITY, samples=128)
    return AspectRatio(data, descent(2.0), 32, depths, **({"steps": 600} | options))


def nearly_kernel(widths, tests=200, seed=0, **options):
    """Eight digits, four of each class, on a sphere; tanh, three layers."""
    few = Subset(PARITY, samples=8, class_fractions="equal", test_samples=tests, seed=seed)
    return NearlyKernel(OnSphere(few), descent(0.5), widths, **({"steps": 250} | options))


@pytest.mark.slow
def test_an_intermediate_depth_generalizes_best(tmp_path):
    """By the squared loss, two standard errors each; r* = 0.26."""
    record = run(aspect_ratio([2, 4, 12], replicas=24, seeds=2), tmp_path / "record.nc")
    found = by_depth(record, "loss")
    best, error = found[4]
    for L in (2, 12):
        loss, other = found[L]
        assert loss - best > 2 * np.hypot(error, other)
    assert record.attrs["r_optimal"] == pytest.approx(4 / (23 * 2 / 3))


def test_deeper_is_better_than_shallow():
    """At L = 2 and 3, by a few networks."""
    study = aspect_ratio([2, 3], replicas=8, seeds=1, steps=400)
    two, three = (np.array(study._networks.run(EnsembleRound((L,)), 0)["loss"]) for L in (2, 3))
    assert two.mean() - three.mean() > 2 * np.hypot(two.std(), three.std()) / 8**0.5


def test_networks_are_trained_as_by_hand():
    data = RandomData(samples=10, dimension=6, test_samples=7)
    study = AspectRatio(data, descent(0.5), width=5, depths=[2, 3], steps=4, replicas=3, seed=7)
    found = study._networks.run(EnsembleRound((3,)), 2)
    net = FullyConnected([6, 5, 5, 1], "tanh", replicas=3, seed=9)
    energy = NetworkEnergy(net, data, "squared")
    dynamics = descent(0.5)(energy.parameters())
    for _ in range(4):
        dynamics.zero_grad()
        energy().sum().backward()
        dynamics.step()
    assert found["loss"] == pytest.approx(energy.evaluate("test")["energy"].tolist(), rel=1e-5)
    assert found["accuracy"] == pytest.approx(energy.evaluate("test")["accuracy"].tolist())
    assert found["depth"] == 3 and found["seed"] == 9


@pytest.mark.slow
def test_the_variance_of_trained_networks(tmp_path):
    """n (variance ratio - 1) and n (mean / kernel - 1) tend to the prediction at order 1/n."""
    record = run(nearly_kernel([16, 32], replicas=150, seeds=4), tmp_path / "record.nc")
    variance, mean = (record[f"{name}_exact"].to_numpy() for name in ("variance", "mean"))
    variance1, mean1 = (record[f"{name}_first_order"].to_numpy() for name in ("variance", "mean"))
    slope = variance1.sum() / variance.sum()
    assert slope == pytest.approx(14.4, abs=0.3)
    for n, (ratio, error) in by_width(record, variance_ratio).items():
        assert 10 - 2 * n * error < n * (ratio - 1) < 16 + 2 * n * error
        assert n * (ratio - 1) == pytest.approx(slope, abs=4 * n * error + 40 / n)
    shift = mean @ mean1 / (mean @ mean)
    assert shift == pytest.approx(0.86, abs=0.05)
    for n, (ratio, error) in by_width(record, mean_projection).items():
        assert n * (ratio - 1) == pytest.approx(shift, abs=4 * n * error + 10 / n)


def test_wide_networks_are_their_kernels():
    """And at n = 32 they are not: their variance is that of order 1/n."""
    study = nearly_kernel([32], tests=16, replicas=192, seeds=1, steps=100)
    found = study._ensemble.run(EnsembleRound((32,)), 0)
    exact = study._ensemble.predicted(32)
    mean1, variance1 = study._ensemble.first_order(32)
    outputs, variance = np.array(found["output"]), exact.covariance.diagonal()
    assert np.mean(found["train_loss"]) < 1e-3
    first = 1 + variance1.sum() / variance.sum() / 32
    assert first == pytest.approx(1.45, abs=0.06)
    assert variance_ratio(outputs, exact.mean, variance) == pytest.approx(first, abs=0.2)
    assert mean_projection(outputs, exact.mean, variance) == pytest.approx(1, abs=0.08)
    assert np.abs(mean1).max() / 32 < 0.2


def test_the_first_order_depends_on_the_samples_and_the_rates():
    slopes = []
    for study in (nearly_kernel([16], tests=8), nearly_kernel([16], tests=8, seed=1)):
        variance = study._ensemble.predicted(16).covariance.diagonal()
        slopes.append(study._ensemble.first_order(16)[1].sum() / variance.sum())
    assert abs(slopes[1] - slopes[0]) > 0.5
    assert nearly_kernel([16], tests=8, activation="relu")._ensemble.first_order(16) is None


def test_the_kernel_has_the_rates_of_the_optimizer():
    """Only the ratios of the rates matter, and they do."""
    study = nearly_kernel([16])
    mean = study._ensemble.predicted(16).mean
    np.testing.assert_allclose(mean, study._ensemble.predicted(64).mean, rtol=1e-9)
    plain = partial(torch.optim.SGD, lr=0.1)
    other = NearlyKernel(study._ensemble.data, plain, [16])._ensemble.predicted(16).mean
    assert np.abs(mean - other).max() > 0.02


def test_the_record(tmp_path):
    data = RandomData(samples=4, dimension=6, test_samples=5)
    study = NearlyKernel(data, descent(0.2), [4, 6], steps=20, replicas=3, seeds=2)
    record = run(study, tmp_path / "record.nc")
    assert record["output"].shape == (4, 3, 5) and record["width"].to_numpy().tolist() == [
        4,
        4,
        6,
        6,
    ]
    assert record["mean_exact"].shape == record["variance_exact"].shape == (5,)


def test_misuse():
    with pytest.raises(UsageError, match=r"depths = \[4\]: must be two or more"):
        aspect_ratio([4])
    with pytest.raises(UsageError, match="softplus"):
        aspect_ratio([2, 4], activation="softplus")
    with pytest.raises(UsageError, match="classes of the data = 10: must be 2"):
        NearlyKernel(Digits(), descent(1.0))
    with pytest.raises(UsageError, match="the loss is not finite"):
        data = RandomData(samples=10, dimension=6)
        study = AspectRatio(data, descent(1e6), width=5, depths=[2, 3], steps=30, replicas=1)
        study._networks.run(EnsembleRound((3,)), 0)
