"""The distance of copies under different noise, against what is exact."""

import numpy as np
import pytest
import torch

from lightning_landscape.callbacks import AgingCorrelation, DamageSpreading, EnergyRelaxation
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import (
    Copies,
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
    WithField,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables import mean_and_error
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import LandscapeProbeContract, bare_trainer, last_record


def langevin(lr, temperature):
    return lambda params: Langevin(params, lr=lr, temperature=temperature, seed=1)


def fit(module, probes, steps, folder):
    trainer = bare_trainer(probes, steps, folder)
    trainer.fit(module)
    return [last_record(folder, probe.name) for probe in probes]


class TestContract(LandscapeProbeContract):
    refusal = "put Copies around the energy"

    def make(self):
        return DamageSpreading(first=1, last=20)

    def landscape(self):
        return LandscapeModule(Copies(Quadratic([0.5, 1.0], replicas=3)), langevin(1.0, 0.5))


@pytest.mark.parametrize("copies", [2, 4])
def test_in_a_well_the_distance_is_exact(copies, tmp_path):
    """d^2 = 2 T [1 - (1 - lr lam)^2n] / [lam (1 - lr lam / 2)], 4 standard errors over replicas."""
    lr, T, lam = 0.2, 0.3, 1.5
    energy = Copies(Quadratic([lam] * 200, replicas=60, start=2.0), copies)
    probe = DamageSpreading(first=0.2, last=8, per_decade=6)
    (record,) = fit(LandscapeModule(energy, langevin(lr, T)), [probe], 41, tmp_path)
    n = np.round(record["t"] / lr)
    exact = 2 * T * (1 - (1 - lr * lam) ** (2 * n)) / (lam * (1 - lr * lam / 2))
    mean, error = mean_and_error(record["d2"])
    assert record.sizes["replica"] == 60
    assert (abs(mean - exact) < 4 * error).all()
    assert (error < 0.02 * exact).all()


def test_from_equilibrium_the_distance_is_the_displacement_in_twice_the_time(tmp_path):
    """d^2 = 2 [1 - C_eq(2t)]: planted glass at T = 0.8, C(1) and C(2) exact; N = 64 and the step
    of 0.01 cost 3 %, beyond which 4 standard errors are allowed."""
    glass = SphericalPSpin(N=64, replicas=80, disorder="independent", start_temperature=0.8)
    probe = DamageSpreading(first=0.5, last=1, per_decade=1)
    (record,) = fit(LandscapeModule(Copies(glass), langevin(0.01, 0.8)), [probe], 101, tmp_path)
    exact = [2 * (1 - 0.65377), 2 * (1 - 0.53812)]
    assert record["d2_exact"].to_numpy() == pytest.approx(exact, abs=2e-3)
    mean, error = mean_and_error(record["d2"])
    assert (abs(mean - exact) < 4 * error + 0.03 * np.array(exact)).all()
    assert (error < 0.03).all()
    assert [row.exact for row in rows(record)] == pytest.approx(exact, abs=2e-3)


def test_different_batches_part_copies_and_the_same_do_not(tmp_path):
    def run(batches):
        net = FullyConnected([5, 1], replicas=2, seed=1)
        energy = Copies(NetworkEnergy(net, RandomData(samples=20, dimension=5), "squared"))
        module = LandscapeModule(energy, lambda p: torch.optim.SGD(p, lr=0.1), batches)
        return fit(module, [DamageSpreading(first=0.1, last=1)], 11, tmp_path)[0]["d2"]

    assert (run(Batches(4)) > 0).all()
    # the rows of a matrix product may differ in the last bit
    assert (run(Batches(4, shared=True)) < 1e-14).all()


def test_twins_that_share_the_noise_are_refused(tmp_path):
    energy = WithField(Quadratic([1.0]), field=0.1, waiting_times=[1])
    with pytest.raises(UsageError, match="energy = WithField: DamageSpreading"):
        fit(LandscapeModule(energy, langevin(0.1, 0.1)), [DamageSpreading(1, 2)], 5, tmp_path)


def test_other_probes_count_the_copies_of_a_replica_once(tmp_path):
    """The record is the mean over copies: by hand, with disorder that replicas do not share."""
    glass = SphericalPSpin(N=12, replicas=5, disorder="independent", seed=1)
    module = LandscapeModule(Copies(glass, copies=3), langevin(0.05, 0.4))
    (record,) = fit(module, [EnergyRelaxation(first=0.05, last=2)], 40, tmp_path)
    assert record.sizes["replica"] == record.attrs["replicas"] == 5
    last = module.energy().detach().double().view(3, 5).mean(0) / 12
    assert record["energy"].isel(t=-1).to_numpy() == pytest.approx(last.numpy(), rel=1e-6)
    assert record["energy_exact"].notnull().all()


def test_copies_at_their_own_temperatures_stay_apart(tmp_path):
    ladder = langevin(0.05, [0.1, 0.1, 0.4, 0.4])
    for energy, temperature, rows_left in (
        (Copies(Quadratic([1.0, 2.0], replicas=2)), ladder, 4),
        (Copies(Quadratic([1.0, 2.0], replicas=2)), langevin(0.05, [0.1, 0.4, 0.1, 0.4]), 2),
    ):
        probe = AgingCorrelation([0.1], first=0.1, last=1)
        (record,) = fit(LandscapeModule(energy, temperature), [probe], 40, tmp_path)
        assert record.sizes["replica"] == len(record.attrs["temperature"]) == rows_left
