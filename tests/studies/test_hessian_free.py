"""The comparison of searches for saddles, and its table."""

import math

import numpy as np
import pytest

from lightning_landscape import records
from lightning_landscape.data import RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, SphericalPSpin, WithL2
from lightning_landscape.errors import UsageError
from lightning_landscape.results.registry import look_up
from lightning_landscape.studies import Experiment, Processes
from lightning_landscape.studies.hessian_free import HessianFree
from lightning_landscape.studies.hessian_free.methods import METHODS, System


def glass(name="glass", **options):
    energy = SphericalPSpin(10, seed=2, dtype="float64")
    return System(name, energy, relaxation=5, steps=60, **options)


def network():
    net = FullyConnected([2, 2, 1], "tanh", dtype="float64")
    energy = WithL2(NetworkEnergy(net, RandomData(20, dimension=2)), 1e-2)
    return System("network", energy, relaxation=0, steps=60, batch_size=10, updates=20, lr=0.2)


def run(study, path):
    lines = []
    Experiment(study, Processes(1)).run(path, {}, lines.append)
    return records.read(path), lines


def test_every_method_of_every_system_is_run_once_and_charged(tmp_path):
    study = HessianFree([glass(), network()], seeds=3)
    dataset, lines = run(study, tmp_path / "hessian_free.nc")
    assert len(lines) == 3 + 4 and study.next(study_results(dataset)) is None
    assert dataset.sizes["run"] == 7 * 3
    names = list(METHODS)
    of = {n: dataset.isel(run=dataset["method"].to_numpy() == k) for k, n in enumerate(names)}
    assert (of["Levenberg-Marquardt"]["hessians"] > 0).all()
    assert (of["squared gradient"]["hessians"] == 0).all()
    two = of["two batches, then squared gradient"]
    assert set(two["system"].to_numpy()) == {1}  # a glass has no batches
    assert (two["gradients"] >= 3 * 20 * 10 / 20 + 3).all()

    rows = {row.quantity: row for row in look_up("HessianFree").rows(dataset)}
    here = of["squared gradient"].isel(run=of["squared gradient"]["system"].to_numpy() == 0)
    good = here["kind"].to_numpy() == 1
    assert rows["glass, squared gradient: stationary points"].measured == good.sum()
    cost = rows["glass, squared gradient: gradients a stationary point"]
    assert cost.measured == pytest.approx(here["gradients"].to_numpy().sum() / good.sum())
    law = rows["glass, squared gradient: rms of index/N − law"]
    assert 0 <= law.measured < 0.2 and math.isnan(law.error)
    assert not any("network" in name and "law" in name for name in rows)
    assert len(look_up("HessianFree").panels(dataset)) == 1


def study_results(dataset):
    names = [str(name) for name in dataset]
    rows = zip(*(dataset[name].to_numpy().tolist() for name in names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_error_of_a_cost_is_that_of_a_ratio_of_sums():
    """Against the bootstrap."""
    from lightning_landscape.results.quantities.exploration.hessian_free import _error_of_ratio

    rng = np.random.default_rng(0)
    good = rng.random(60) < 0.6
    cost = rng.normal(100, 30, 60) + 40 * ~good
    draws = rng.integers(60, size=(4000, 60))
    ratios = cost[draws].sum(1) / good[draws].sum(1)
    assert _error_of_ratio(cost, good) == pytest.approx(ratios.std(), rel=0.1)


def test_impossible_systems_are_refused():
    with pytest.raises(UsageError, match="systems"):
        HessianFree([])
    with pytest.raises(UsageError, match="distinct"):
        HessianFree([glass(), glass()])
    with pytest.raises(UsageError, match="batch_size"):
        glass(batch_size=4)
    with pytest.raises(UsageError, match="float64"):
        System("glass", SphericalPSpin(10))
    for name in ("width", "rate", "max_step", "lr"):
        with pytest.raises(UsageError, match=name):
            glass(**{name: 0.0})
