"""Stationarity as a probe: in runs of ours and of others."""

import pytest
import torch

from lightning_landscape.callbacks import Stationarity
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import (
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
    WithField,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)


class TestContract(ProbeContract):
    def make(self):
        return Stationarity(interval=0.2, last=20)


def fit(module, probe, steps, folder):
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(module)
    return last_record(folder, "stationarity")


def linear_regression(replicas):
    """A linear network on labels +-1, B = 5, lr = 0.05, batches of shuffled epochs."""
    net = FullyConnected([10, 1], replicas=replicas, dtype="float64", weight_variance=100.0)
    energy = NetworkEnergy(net, RandomData(200, 10), loss="squared")
    return LandscapeModule(energy, lambda p: torch.optim.SGD(p, lr=0.05), Batches(5, seed=1))


def test_sgd_on_linear_regression_becomes_stationary(tmp_path):
    """Both relations hold within 3 % in the last window."""
    # 40 batches are an epoch: an odd interval meets all of its phases
    probe = Stationarity(interval=0.35, last=60)
    record = fit(linear_regression(128), probe, 1200, tmp_path)
    last = record.isel(window=-1)
    assert last["ratio"].values == pytest.approx([1, 1], abs=0.03)
    assert (last["ratio_error"] < 0.02).all() and (abs(last["deviation"]) < 4).all()
    assert float(last["until"]) / float(last["since"]) == pytest.approx(2, rel=0.05)
    table = list(rows(record))
    assert table[-1].exact == 1 and table[-1].quantity.startswith("FDR2 ratio")
    assert table[-1].measured == pytest.approx(float(last["ratio"][1]))


def test_a_run_that_still_descends_is_flagged(tmp_path):
    record = fit(linear_regression(16), Stationarity(interval=0.05, last=3), 62, tmp_path)
    last = record.isel(window=-1)
    assert not last["stationary"].any() and (abs(last["deviation"]) > 5).all()
    assert all("not stationary" in row.quantity for row in rows(record))


@pytest.mark.slow
def test_langevin_in_a_well(tmp_path):
    """Left and right of FDR1 are T N / (1 - lr lam / 2) each, within 4 standard errors."""
    T, lr, N = 0.2, 0.1, 20
    energy = Quadratic([1.0] * N, replicas=100, dtype="float64")
    module = LandscapeModule(energy, lambda p: Langevin(p, lr, T, seed=3))
    record = fit(module, Stationarity(interval=1, first=10, last=100), 1000, tmp_path)
    for side in ("left", "right"):
        means = record[side].sel(relation="FDR1").mean("t")
        error = float(means.std(ddof=1)) / 10
        assert abs(float(means.mean()) - T * N / (1 - lr / 2)) < 4 * error
    assert record["stationary"].isel(window=-1).all()


def test_langevin_on_a_network_is_flagged_until_it_has_forgotten_its_start(tmp_path):
    """Logistic regression, which is not quadratic, at T = 0.01 from weights ten times too large.

    Both relations fail by more than 4 errors from t = 25 to 50 or before, and hold within 3 from
    t = 100 to 200, where the errors of the ratios are below 10 %.
    """
    net = FullyConnected([10, 1], replicas=64, dtype="float64", seed=1, weight_variance=100.0)
    energy = NetworkEnergy(net, RandomData(100, 10), loss="cross_entropy")
    module = LandscapeModule(energy, lambda p: Langevin(p, 0.2, 0.01, seed=3))
    record = fit(module, Stationarity(interval=1.0, last=199), 1000, tmp_path)
    early, late = record.isel(window=0), record.isel(window=-1)
    assert not early["stationary"].any() and (abs(early["deviation"]) > 4).all()
    assert late["stationary"].all() and (late["ratio_error"] < 0.1).all()


def test_in_a_foreign_project_the_first_relation_uses_its_own_steps(tmp_path):
    """Against configurations kept by hand, with momentum and accumulation."""
    kept = {}

    class Watched(Classifier):
        def on_train_batch_start(self, batch, batch_idx):
            self.keep()

        def on_train_end(self):
            self.keep()

        def keep(self):
            flat = torch.cat([p.detach().flatten() for p in self.parameters()])
            kept[self.trainer.global_step] = flat.double()

    probe = Stationarity(interval=2, first=1, last=7)
    train(Watched(), tmp_path, [probe], accumulate_grad_batches=3)
    record = last_record(tmp_path, "stationarity")
    assert record["t"].values.tolist() == [1, 3, 5, 7]
    assert record["relation"].values.tolist() == ["FDR1"]
    for t in (1, 3, 5, 7):
        step, origin = kept[t + 1] - kept[t], kept[3 if t == 7 else 1]
        at = record.sel(t=t, relation="FDR1")
        assert at["left"].item() == pytest.approx(-((kept[t] - origin) @ step).item(), rel=1e-6)
        assert at["right"].item() == pytest.approx((step @ step).item() / 2, rel=1e-6)
    assert record.sizes["window"] == 0 and not list(rows(record))


def test_impossible_requests_are_refused(tmp_path):
    glass = LandscapeModule(
        SphericalPSpin(N=8, p=3), lambda p: Langevin(p, lr=0.01, temperature=0.5)
    )
    with pytest.raises(UsageError, match="on a sphere"):
        fit(glass, Stationarity(), 2, tmp_path)
    twins = WithField(Quadratic([1.0]), field=0.1, waiting_times=[1])
    thermal = LandscapeModule(twins, lambda p: Langevin(p, lr=0.01, temperature=0.5))
    with pytest.raises(UsageError, match="twins share the noise"):
        fit(thermal, Stationarity(), 2, tmp_path)
    for name, value in (("interval", 0.0), ("first", 20_000.0), ("sigmas", 0.0)):
        with pytest.raises(UsageError, match=name):
            Stationarity(**{name: value})
