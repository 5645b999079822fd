"""Linear response without and with a field: against each other and against what is exact."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from lightning_landscape.callbacks import FieldResponse, LinearResponse
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews
from lightning_landscape.energies import (
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
    WithField,
)
from lightning_landscape.energies.networks.losses import LOSSES
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables import mean_and_error
from lightning_landscape.observables.response import FAST, SLOW, effective_temperature
from lightning_landscape.results import comparison
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing import probe as contract
from lightning_landscape.testing.probe import bare_trainer, last_record


def langevin(lr, temperature, seed=1):
    return lambda params: Langevin(params, lr=lr, temperature=temperature, seed=seed)


def sgd(params):
    return torch.optim.SGD(params, lr=0.1)


def fit(module, probes, steps, folder, **trainer):
    trainer = bare_trainer(probes, steps, folder)
    trainer.fit(module)
    return [last_record(folder, probe.name) for probe in probes]


def thermal(self):
    return Langevin(self.parameters(), lr=0.05, temperature=1e-3)


class ThermalClassifier(contract.Classifier):
    configure_optimizers = thermal


class TwoThermostats(contract.TwoOptimizers):
    def configure_optimizers(self):
        p = list(self.parameters())
        halves = enumerate((p[:2], p[2:]))
        return [Langevin(half, lr=0.05, temperature=1e-3, seed=k) for k, half in halves]


class ThermalAveraged(contract._Averaged):
    configure_optimizers = thermal


def at_a_temperature(make):
    """The same project with Langevin dynamics."""
    if isinstance(make, partial):
        return partial(ThermalAveraged, *make.args)
    known = {contract.Classifier: ThermalClassifier, contract.TwoOptimizers: TwoThermostats}
    return known.get(make, lambda: ThermalClassifier(compile_net=True))


class TestLinearResponse(contract.ProbeContract):
    SITUATIONS = {  # noqa: RUF012
        name: (at_a_temperature(make), settings)
        for name, (make, settings) in contract.ProbeContract.SITUATIONS.items()
    }

    def make(self):
        return LinearResponse(waiting_times=[1, 5], first=1, last=10)

    def landscape(self):
        return LandscapeModule(Quadratic([0.5, 1.0, 2.0], replicas=4), langevin(1.0, 0.5))

    def test_one_probe_serves_both_lightning_packages(self, tmp_path, monkeypatch):
        monkeypatch.setattr(contract._Project, "configure_optimizers", thermal)
        super().test_one_probe_serves_both_lightning_packages(tmp_path)


class TestFieldResponse(contract.LandscapeProbeContract):
    refusal = "put WithField around the energy"

    def make(self):
        return FieldResponse(first=1, last=10)

    def landscape(self):
        inner = Quadratic([0.5, 1.0, 1.5], replicas=4)
        energy = WithField(inner, field=0.1, waiting_times=[1, 5])
        return LandscapeModule(energy, langevin(1.0, 0.5))


# exact results


def test_in_a_well_both_are_the_exact_response_of_the_discrete_scheme(tmp_path):
    """chi = sum_i [1 - (1 - lr lam_i)^n] / (N lam_i): with a field exactly, without in 4 errors.

    In the stationary state T_eff = T / (1 - lr lam / 2), T in the limit of small steps.
    """
    lr, T, lam, R = 0.2, 0.3, torch.tensor([0.5] * 100), 100
    inner = Quadratic(lam.tolist(), replicas=R, start=0.0, dtype="float64")
    energy = WithField(inner, field=0.1, waiting_times=[10.0, 20.0])
    probes = [
        FieldResponse(first=0.2, last=6, per_decade=6),
        LinearResponse([10.0, 20.0], first=0.2, last=6, per_decade=6),
    ]
    field, noise = fit(LandscapeModule(energy, langevin(lr, T)), probes, 131, tmp_path)
    n = np.round(field["t"] / lr)
    exact = (1 - (1 - lr * 0.5) ** n) / 0.5
    assert abs(field["chi"] - exact).max() < 1e-12
    once = noise.isel(replica=slice(0, R))  # twins have the same noise
    mean, error = mean_and_error(once["chi"])
    assert (abs(mean - exact) < 4 * error).all()
    assert error.max() < 0.05
    for record in (field, once):
        at = record.sel(tw=20)
        T_eff, error = effective_temperature(at["MSD"] / 2, at["chi"], (0, 1))
        assert abs(T_eff - T / (1 - lr * 0.5 / 2)) < 4 * error
        assert error < 0.02


def test_replicas_may_differ_in_temperature_and_step_size(tmp_path):
    """In units of the noise of each: chi = n lr for a free particle, 4 standard errors."""
    lrs, temperatures, N = [0.1, 0.2], [0.5, 0.01], 2000
    module = LandscapeModule(
        Quadratic([0.0] * N, replicas=2), lambda p: Langevin(p, lr=lrs, temperature=temperatures)
    )
    (record,) = fit(module, [LinearResponse([3], first=10, last=10)], 15, tmp_path)
    exact = 10 * np.array(lrs)
    assert (abs(record["chi"].squeeze() - exact) < 4 * exact * (2 / N) ** 0.5).all()


@pytest.mark.slow
def test_the_planted_glass_obeys_the_fluctuation_dissipation_theorem(tmp_path):
    """T chi = 1 - C at T = 0.8 > T_d, for both measurements, and they agree: 4 standard errors.

    The scheme adds a relative lr mu / 2 < 2 % to 1 - C, N = 64 less than a per cent to chi.
    """
    R, T = 48, 0.8
    glass = SphericalPSpin(
        N=64, replicas=R, disorder="independent", start_temperature=T, dtype="float64"
    )
    energy = WithField(glass, field=0.1, waiting_times=[0.5])
    probes = [
        FieldResponse(first=0.1, last=2, per_decade=4),
        LinearResponse([0.5], first=0.1, last=2, per_decade=4),
    ]
    field, noise = fit(LandscapeModule(energy, langevin(0.01, T)), probes, 251, tmp_path)
    noise = noise.isel(replica=slice(0, R))
    for record in (field.isel(tw=0), noise.isel(tw=0)):
        decay = record["MSD"] / 2
        mean, error = mean_and_error(T * record["chi"] - decay)
        assert (abs(mean) < 4 * error + 0.02 * decay.mean("replica")).all()
        mean, error = mean_and_error(record["chi"])
        exact = field["chi_exact"].isel(tw=0)
        assert (abs(mean - exact) < 4 * error + 0.02 * exact).all()
        assert error.max() < 0.07
        T_eff, error = effective_temperature(decay, record["chi"], (0, 1))
        assert abs(T_eff - T) < 4 * error + 0.02 * T
        assert error < 0.085
    both = field["chi"].to_numpy() - noise["chi"].to_numpy()
    error = both.std(-1, ddof=1) / R**0.5
    assert (abs(both.mean(-1)) < 4 * error).all()


def test_a_quenched_glass_leaves_the_theorem_as_the_exact_dynamics_does(tmp_path):
    """T = 0.3 < T_d, tw = 1, 160 samples of N = 48: chi, C and T chi - (1 - C) at six times.

    Four standard errors, and 3 % for the finite size and step; the theorem would be 0 in the last.
    """
    T, glass = 0.3, SphericalPSpin(N=48, replicas=160, disorder="independent", seed=3)
    probe = LinearResponse([1.0], first=0.2, last=6, per_decade=3)
    (record,) = fit(LandscapeModule(glass, langevin(0.02, T)), [probe], 351, tmp_path)
    record = record.isel(tw=0)
    for name in ("chi", "C"):
        mean, error = mean_and_error(record[name])
        exact = record[f"{name}_exact"]
        assert (abs(mean - exact) < 4 * error + 0.03 * exact).all()
    violation, error = mean_and_error(T * record["chi"] - (1 - record["C"]))
    exact = T * record["chi_exact"] - (1 - record["C_exact"])
    allowed = 4 * error + 0.03 * (1 - record["C_exact"])
    assert (abs(violation - exact) < allowed).all()
    assert violation[-1] < -15 * error[-1]


@pytest.mark.slow
def test_a_quenched_glass_is_hotter_at_long_times(tmp_path):
    """T = 0.3 < T_d, 400 samples of N = 128: chi, C and both T_eff against the exact dynamics.

    Finite size and step are 3 % of chi; beyond them four standard errors.
    """
    glass = SphericalPSpin(N=128, replicas=400, disorder="independent", seed=3)
    probe = LinearResponse([2.0], first=0.1, last=20, per_decade=6)
    (record,) = fit(LandscapeModule(glass, langevin(0.02, 0.3)), [probe], 1101, tmp_path)
    mean, error = mean_and_error(record["chi"])
    assert (abs(mean - record["chi_exact"]) < 4 * error + 0.03 * record["chi_exact"]).all()
    record = record.isel(tw=0)
    temperatures = []
    for window in (FAST, SLOW):
        T_eff, error = effective_temperature(record["MSD"] / 2, record["chi"], window)
        exact, _ = effective_temperature(record["MSD_exact"] / 2, record["chi_exact"], window)
        assert abs(T_eff - exact) < 4 * error + 0.05 * exact
        temperatures.append(T_eff)
    assert temperatures[1] > 1.8 * temperatures[0]


# twins


def network(replicas=2):
    net = FullyConnected([6, 8, 1], replicas=replicas, activation="tanh", seed=1)
    return NetworkEnergy(net.double(), RandomData(samples=40, dimension=6), "squared")


@pytest.mark.parametrize("optimizer", [sgd, lambda p: torch.optim.Adam(p, lr=0.01)])
def test_twins_under_any_optimizer_part_at_the_waiting_time_only(optimizer, tmp_path):
    """Before it they are the run without a field; after it chi does not depend on h."""

    def run(field, folder):
        energy = WithField(network(), field, waiting_times=[0.3 if optimizer is sgd else 0.03])
        module = LandscapeModule(energy, optimizer, Batches(8, seed=2))
        probe = FieldResponse(first=module.time_step, last=20 * module.time_step)
        (record,) = fit(module, [probe], 24, folder)
        return module.energy, record

    alone = LandscapeModule(network(), optimizer, Batches(8, seed=2))
    fit(alone, [], 3, tmp_path)
    energy = WithField(network(), 0.1, waiting_times=[100.0])
    fit(LandscapeModule(energy, optimizer, Batches(8, seed=2)), [], 3, tmp_path)
    assert energy.configuration().equal(alone.energy.configuration().repeat(2, 1))
    # Adam divides by the gradient, so it is linear in weaker fields only
    small, half = (run(h, tmp_path / str(h))[1]["chi"] for h in (2e-5, 1e-5))
    assert small.notnull().all()
    assert abs(small / half - 1).max() < 1e-3
    assert (half > 0).any()


def test_the_response_of_sgd_is_that_of_its_linear_map(tmp_path):
    """For a linear network delta' = delta - lr H_B delta + lr h epsilon, with H_B of the batch."""
    data = RandomData(samples=30, dimension=5)
    net = FullyConnected([5, 1], replicas=2, seed=1)
    energy = WithField(NetworkEnergy(net.double(), data, "squared"), 0.2, [0.0])
    batches = Batches(6, seed=2)
    probe = FieldResponse(first=0.1, last=1.5, per_decade=8)
    (record,) = fit(LandscapeModule(energy, sgd, batches), [probe], 16, tmp_path)
    x = torch.cat([energy.energy.inputs, torch.ones(30, 1, dtype=torch.float64)], 1)
    f = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
    loss = LOSSES["squared"].value(f, torch.ones_like(f)).sum()
    (slope,) = torch.autograd.grad(loss, f, create_graph=True)
    curvature = torch.autograd.grad(slope, f)[0].item()
    delta, expected = torch.zeros(2, 6, dtype=torch.float64), []
    for step in range(16):
        batch = batches(step, 30, 2)
        kicks = [curvature * x[b].T @ (x[b] @ d) / 6 for b, d in zip(batch, delta, strict=True)]
        delta = delta - 0.1 * torch.stack(kicks) + 0.1 * energy.signs
        expected.append((delta * energy.signs).mean(1))
    rows = [round(t / 0.1) - 1 for t in record["t"].to_numpy()]
    assert record["chi"].squeeze("tw").to_numpy() == pytest.approx(
        torch.stack(expected)[rows].numpy(), rel=1e-9
    )


# refusals


@pytest.mark.parametrize(
    ("dynamics", "sentence"),
    [
        (sgd, "optimizer = SGD: only the independent noises of Langevin .* FieldResponse"),
        (lambda p: LeimkuhlerMatthews(p, lr=0.1, temperature=0.1), "LeimkuhlerMatthews"),
        (langevin(0.1, 0.0), "temperature = 0.0: there is no noise"),
        (langevin(0.1, [0.1, 0.0]), "there is no noise"),
    ],
)
def test_without_independent_noise_there_is_no_response_without_a_field(
    dynamics, sentence, tmp_path
):
    module = LandscapeModule(Quadratic([1.0], replicas=2), dynamics)
    with pytest.raises(UsageError, match=sentence):
        fit(module, [LinearResponse([0.1], first=0.1, last=0.2)], 5, tmp_path)


def test_the_dynamics_adds_nothing_up_after_the_run(tmp_path):
    module = LandscapeModule(Quadratic([1.0]), langevin(0.1, 0.2))
    fit(module, [LinearResponse([0.1], first=0.1, last=0.2)], 5, tmp_path)
    assert module.dynamics.scores == {}
    assert math.isfinite(module.energy().item())


@pytest.mark.parametrize("T", [0.0, 0.2])
def test_a_run_that_ends_before_the_waiting_time_draws_nothing(T, tmp_path):
    energy = WithField(Quadratic([1.0, 2.0], replicas=2), field=0.1, waiting_times=[5.0])
    (record,) = fit(LandscapeModule(energy, langevin(0.1, T)), [FieldResponse(1, 2)], 5, tmp_path)
    assert draw(record) is None
    assert not comparison.overlays({"a": {"FieldResponse": record}})  # two times, without points
    assert not list(rows(record))


def test_waiting_times_within_a_step_are_refused(tmp_path):
    energy = WithField(Quadratic([1.0]), field=0.1, waiting_times=[1.0, 1.01])
    with pytest.raises(UsageError, match=r"waiting_times = .* must be a step apart"):
        fit(LandscapeModule(energy, langevin(0.1, 0.2)), [FieldResponse(1, 2)], 5, tmp_path)
