import importlib
import runpy
from pathlib import Path

import pytest
import torch
import xarray

from lightning_landscape.studies import Experiment, Processes
from lightning_landscape.testing import DynamicsContract, EnergyContract

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    return runpy.run_path(str(EXAMPLES / name))


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_probe_your_project(tmp_path):
    record = xarray.load_dataset(load("probe_your_project.py")["main"](2, tmp_path))
    assert (record["MSD"].sel(tw=10).dropna("t") > 0).all()


def test_new_energy_is_in_equilibrium():
    mean, error = load("new_energy.py")["main"](steps=4000)
    # quadrature 0.8714, of which the step size of 0.02 and the start at a minimum take little
    assert mean == pytest.approx(0.8714, abs=4 * error + 0.01)


def test_after_one_step_the_temperature_of_sgd_is_that_of_its_noise():
    """T_eff = lr (D + |grad E|^2 / N) / 2, of which the second is a tenth or less: 4 errors.

    Later the mean gradient, which does not fade with B as the noise does, shows as heat.
    """
    temperatures = load("effective_temperature.py")["temperatures"]
    rises = []
    for batch_size in (16, 64):
        (first, error), (later, _), (noise, own_error) = temperatures(0.1, batch_size)
        assert -4 * (error + own_error) < first - noise < 4 * (error + own_error) + 0.1 * noise
        assert error < 0.25 * noise
        rises.append(later / noise)
    assert rises[1] > 1.5 * rises[0]


class TestDoubleWell(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        wells = load("new_energy.py")["DoubleWell"](N=5, replicas=replicas)
        wells.load_configuration(torch.linspace(-2, 2, 5 * replicas).view(replicas, 5))
        return wells.to(getattr(torch, dtype))


class TestBoundedLangevin(DynamicsContract):
    Dynamics = load("new_dynamics.py")["BoundedLangevin"]

    def make(self, params, lr, temperature=0.0, seed=0):
        return self.Dynamics(params, lr, temperature, seed)

    def variance(self, lr, temperature, curvature):
        return temperature / (curvature * (1 - lr * curvature / 2))


def test_new_dynamics_has_the_exact_variance_in_a_well():
    """20 000 numbers, known to 1 %; without 1 / (1 - lr / 2), which is 5 %, it would be far off."""
    variance, error, exact = load("new_dynamics.py")["main"](steps=150)
    assert error < 0.01 * exact and variance == pytest.approx(exact, abs=4 * error)


def test_new_study_agrees_with_the_theorem_of_cover(monkeypatch, tmp_path):
    """The exact share at P = 2 N is 1/2; a longer study goes on with what is recorded."""
    monkeypatch.syspath_prepend(EXAMPLES)
    module = importlib.import_module("new_study")
    study, record = module.Separability(N=10, loads=[1.6, 2.0], seeds=60), tmp_path / "record.nc"
    for part in (module.Separability(N=10, loads=[1.6], seeds=60), study):
        Experiment(part, Processes(1)).run(record, {}, tell=print)
    rows = list(module.SeparabilityResult().rows(xarray.load_dataset(record)))
    assert rows[1].exact == pytest.approx(0.5) and rows[0].exact > 0.75
    assert all(abs(row.deviation) < 4 for row in rows) and len(rows) == 2


def test_the_batch_sharpness_of_the_start_bounds_the_step():
    """Below 0.7 of 2 / s_B nothing diverges, from twice that on everything does, at B = 2 too."""
    example = load("phase_diagram.py")
    for batch_size, lrs in ((2, [0.2, 0.8]), (64, [0.38, 1.3])):
        (below, above), (edge, limit, noise) = example["training"](lrs, batch_size, 50)
        assert lrs[0] < 0.7 * limit and lrs[1] > 2 * limit
        assert (below != example["DIVERGED"]).all() and (above == example["DIVERGED"]).all()
        assert 0.2 < edge < 0.5 and 5 < noise < 20
