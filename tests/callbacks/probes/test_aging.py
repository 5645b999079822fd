import math
from functools import partial

import pytest
import torch

from lightning_landscape import memory
from lightning_landscape.callbacks import AgingCorrelation
from lightning_landscape.callbacks.view import View
from lightning_landscape.dynamics import Anneal, Langevin
from lightning_landscape.energies import Quadratic, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)


class TestContract(ProbeContract):
    def make(self):
        return AgingCorrelation(waiting_times=[1, 5], first=1, last=10)


DYNAMICS = partial(Langevin, lr=0.05, temperature=0.5)


def fit(module, probes, steps, folder):
    trainer = bare_trainer(probes, steps, folder)
    trainer.fit(module)
    return trainer


def test_every_entry_is_that_of_the_stored_trajectory(tmp_path):
    """Against a run that keeps every configuration and computes C and Delta afterwards."""

    def dynamics(params):
        return Langevin(params, lr=0.05, temperature=0.5, seed=3)

    energy = SphericalPSpin(N=12, p=3, replicas=3, seed=0)
    loop = dynamics(energy.parameters())
    loop.constraint = energy.constraint
    trajectory = [energy.configuration().double()]
    for _ in range(60):
        loop.zero_grad()
        energy().sum().backward()
        loop.step()
        trajectory.append(energy.configuration().double())
    module = LandscapeModule(SphericalPSpin(N=12, p=3, replicas=3, seed=0), dynamics)
    probe = AgingCorrelation(waiting_times=[0, 0.5, 1.0], first=0.05, last=2.0, per_decade=4)
    fit(module, [probe], 60, tmp_path)
    record = last_record(tmp_path, "aging_correlation")
    assert record["tw"].values == pytest.approx([0, 0.5, 1.0])
    for tw in record["tw"].values:
        for t in record["t"].values:
            early, late = round(tw / 0.05), round((tw + t) / 0.05)
            entry = record.sel(tw=tw, t=t)
            x, y = trajectory[early], trajectory[late]
            assert entry["C"].values == pytest.approx((x * y).sum(1).numpy() / 12, abs=1e-6)
            assert entry["MSD"].values == pytest.approx((x - y).square().mean(1).numpy(), abs=1e-6)
    q = (trajectory[10] @ trajectory[10].T / 12)[torch.triu_indices(3, 3, 1).unbind()]
    assert record["overlap"].sel(tw=0.5).values == pytest.approx(q.numpy(), abs=1e-6)


def test_the_overlaps_of_many_replicas_are_a_sample_and_the_record_says_which(tmp_path):
    module = LandscapeModule(Quadratic([1.0, 2.0], replicas=1000), DYNAMICS)
    probe = AgingCorrelation(waiting_times=[0, 0.1], first=0.05, last=0.1)
    fit(module, [probe], 4, tmp_path)
    record = last_record(tmp_path, "aging_correlation")
    assert record.sizes["pair"] == 100_000
    assert record.attrs["pairs"] == "(a, a + d modulo 1000), d = 1 … 100"


@pytest.mark.parametrize(
    ("replicas", "per_decade", "sentence"),
    [(1, 2000, "make .* measurements, and may make 20000; lower"), (1000, 5, "GB of memory")],
)
def test_what_cannot_be_afforded_is_refused(replicas, per_decade, sentence, monkeypatch):
    monkeypatch.setattr(memory, "_available", lambda: 4e7)  # bytes; overlaps alone need more
    view = View(LandscapeModule(Quadratic([1.0, 2.0], replicas=replicas), DYNAMICS), None, 0)
    probe = AgingCorrelation(range(1, 51), 1, 100, per_decade)
    probe.events(1e-4)
    with pytest.raises(UsageError, match=f"waiting_times = 50 times tw, .* {sentence}"):
        probe.prepare(view)


def test_a_free_particle_diffuses(tmp_path):
    """On a flat landscape Delta(tw, tw + t) = 2 T t for every tw, within 4 standard errors."""
    R, N, T, t = 64, 100, 0.3, 1.0
    module = LandscapeModule(
        Quadratic([0.0] * N, replicas=R, start=1.0),
        lambda params: Langevin(params, lr=0.1, temperature=T, seed=1),
    )
    probe = AgingCorrelation(waiting_times=[0, 2], first=t, last=t)
    fit(module, [probe], 30, tmp_path)
    MSD = probe.results["MSD"][:, 0]
    error = 2 * T * t * math.sqrt(2 / (R * N))
    assert (MSD.mean(1) - 2 * T * t).abs().max() < 4 * error


def test_snapshots_are_dropped_when_they_are_no_longer_needed(tmp_path):
    module = LandscapeModule(Quadratic([1.0]), lambda params: torch.optim.SGD(params, lr=1e-3))
    probe = AgingCorrelation(waiting_times=[0.001, 0.005], first=0.001, last=0.01)
    fit(module, [probe], 50, tmp_path)
    assert not [name for name in probe.results if name.startswith("snapshot")]
    assert probe.results["C"].isfinite().all()


def test_the_memory_is_said_before_the_first_step(tmp_path, caplog):
    module = LandscapeModule(Quadratic([1.0] * 1000, replicas=10), torch.optim.SGD)
    with caplog.at_level("INFO", logger="lightning_landscape"):
        probe = AgingCorrelation(waiting_times=[1e-3, 2e-3], first=1e-3, last=1e-3)
        fit(module, [probe], 5, tmp_path)
    assert "aging_correlation: 2 snapshots, at most 0.322 MB; 3 measurements" in caplog.text


def test_aging_across_a_change_of_temperature_is_refused_unless_wanted(tmp_path):
    def cooling(params):
        return Langevin(params, lr=0.1, temperature=Anneal(1.0, 0.1, duration=1))

    with pytest.raises(UsageError, match="temperature_changes: true"):
        fit(LandscapeModule(Quadratic([1.0]), cooling), [AgingCorrelation([0.1])], 5, tmp_path)
    on_purpose = AgingCorrelation([0.1], first=0.1, last=0.2, temperature_changes=True)
    fit(LandscapeModule(Quadratic([1.0]), cooling), [on_purpose], 5, tmp_path)
    assert on_purpose.results["C"].isfinite().all()


def test_in_a_foreign_project_time_counts_steps_of_the_optimizer(tmp_path):
    """Three accumulated batches are one step: 3 epochs of 8 batches are 9 steps (3 an epoch)."""
    probe = AgingCorrelation(waiting_times=[2], first=1, last=7)
    train(Classifier(), tmp_path, [probe], accumulate_grad_batches=3)
    record = last_record(tmp_path, "aging_correlation")
    assert record.attrs["time_step"] == 1
    assert record["C"].sel(tw=2).notnull().all()
    assert (record["MSD"].sel(tw=2, t=7) > 0).all()


@pytest.mark.parametrize("times", [[], [-1.0]])
def test_waiting_times_out_of_range_are_refused(times):
    with pytest.raises(UsageError, match="waiting_times"):
        AgingCorrelation(waiting_times=times)
