import re

import pytest
import torch

from lightning_landscape.callbacks import EnergyRelaxation
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import Quadratic, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    TwoOptimizers,
    bare_trainer,
    last_record,
    train,
)
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve


class TestContract(ProbeContract):
    def make(self):
        return EnergyRelaxation(first=1, last=15)


def fit(module, probe, steps, folder):
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(module)
    return last_record(folder, "energy_relaxation")


def test_gradient_descent_in_a_quadratic_is_exact(tmp_path):
    """E(n) = sum_i lam_i (1 - lr lam_i)^(2n) x_i(0)^2 / 2, for each replica, from time 0 on."""
    spectrum, lr = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), 0.1
    energy = Quadratic(spectrum.tolist(), replicas=2, dtype="float64", seed=4)
    x0 = energy.configuration()
    module = LandscapeModule(energy, lambda params: torch.optim.SGD(params, lr=lr))
    record = fit(module, EnergyRelaxation(first=0.1, last=3, per_decade=5), 30, tmp_path)
    steps = (record["t"] / lr).round().astype(int).to_numpy()
    assert steps[0] == 0 and steps[-1] == 30
    scale = 3 if energy.extensive else 1
    for k, n in enumerate(steps):
        exact = (spectrum * (1 - lr * spectrum) ** (2 * int(n)) * x0**2 / 2).sum(1) / scale
        assert record["energy"].isel(t=k).values == pytest.approx(exact.numpy(), rel=1e-12)


def quench(T):
    return solve({3: 0.5}, T, 1.0)


def test_each_replica_has_its_temperature(tmp_path):
    module = LandscapeModule(
        SphericalPSpin(N=8, replicas=3),
        lambda params: Langevin(params, lr=0.1, temperature=[0.1, 0.2, 0.3]),
    )
    record = fit(module, EnergyRelaxation(first=0.1, last=0.5), 5, tmp_path)
    assert record["temperature"].isel(t=-1).values == pytest.approx([0.1, 0.2, 0.3])
    # dE/dt(0) = -f'(1) from a uniform start, and then the curves part
    exact = record["energy_exact"].sel(t=0.5, method="nearest")
    assert exact.dims == ("replica",)
    assert exact.values == pytest.approx(
        [quench(T).energy(float(exact["t"])) for T in (0.1, 0.2, 0.3)], abs=1e-4
    )
    assert exact[0] < exact[2] - 0.02


def test_the_exact_curve_stands_beside_a_glass(tmp_path):
    module = LandscapeModule(
        SphericalPSpin(N=8, replicas=2), lambda params: Langevin(params, lr=0.1, temperature=0.3)
    )
    record = fit(module, EnergyRelaxation(first=0.1, last=2), 20, tmp_path)
    assert record["energy_exact"].sel(t=2, method="nearest") == pytest.approx(-0.78125, abs=2e-4)
    assert record["energy_exact"].isel(t=0) == pytest.approx(0, abs=1e-4)


def test_the_loss_of_a_foreign_project_is_that_of_its_batch(tmp_path):
    losses = {}

    class Watched(Classifier):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.net.eval()
            losses[self.trainer.global_step] = self.loss(batch).item()
            self.net.train()

    def evaluated(module, batch):
        module.net.eval()
        return module.loss(batch)

    probe = EnergyRelaxation(first=1, last=20, loss_fn=evaluated)
    train(Watched(), tmp_path, [probe])
    for step, energy in zip(probe.results["step"], probe.results["energy"], strict=True):
        if step > 0:
            assert energy.item() == pytest.approx(losses[int(step)])


def test_manual_optimization_without_an_energy_is_said_in_a_sentence(tmp_path, caplog):
    class NoEnergy(TwoOptimizers):
        energy = None

    probe = EnergyRelaxation()
    train(NoEnergy(), tmp_path, [probe], max_epochs=1)
    assert not probe.active
    (said,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert re.search(r"step 0.*NoEnergy optimizes by hand.*energy\(batch\).*loss_fn", said)
    with pytest.raises(UsageError, match="NoEnergy optimizes by hand"):
        train(NoEnergy(), tmp_path, [EnergyRelaxation(strict=True)], max_epochs=1)


def test_where_the_theory_refuses_the_measurement_is_kept(tmp_path, caplog):
    """A start planted below the static transition is no equilibrium: there is no exact curve."""
    module = LandscapeModule(
        SphericalPSpin(N=8, replicas=2, start_temperature=0.3),
        lambda params: Langevin(params, lr=0.1, temperature=0.3),
    )
    record = fit(module, EnergyRelaxation(first=0.1, last=2), 20, tmp_path)
    assert record["energy"].notnull().all()
    assert "energy_exact" not in record
    assert "no exact curve for EnergyRelaxation" in caplog.text
