import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from lightning_landscape.callbacks import GapDistribution
from lightning_landscape.data import RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables.exponents import fit_power_law, fit_size_law
from lightning_landscape.observables.gaps import classification_gaps
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)


def gaps_of_a_batch(module, batch):
    if isinstance(module, LandscapeModule):  # the contract's quadratic energy: some gaps
        return module.energy.configuration() - 0.1
    return classification_gaps(module.net(batch[0]), batch[1])


class TestContract(ProbeContract):
    def make(self):
        return GapDistribution(first=1, last=15, gap_fn=gaps_of_a_batch)


def network(replicas=3, samples=40, hidden=8, seed=0):
    architecture = FullyConnected([5, hidden, 1], replicas=replicas, dtype="float64", seed=seed)
    data = RandomData(samples, 5, test_samples=5)
    return NetworkEnergy(architecture, data, "quadratic_hinge")


def fit(probe, folder, steps, energy=None, lr=0.05, ckpt_path=None):
    module = LandscapeModule(energy or network(), lambda params: torch.optim.Adam(params, lr=lr))
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(module, ckpt_path=ckpt_path)
    return trainer


def probe(**windows):
    return GapDistribution(first=0.05, last=10, per_decade=5, **windows)


def test_the_record_says_what_the_gaps_are(tmp_path):
    """Against the gaps of the same run, watched from outside at every measured step."""
    seen = {}

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            seen[trainer.global_step] = pl_module.energy.gaps()

    energy = network()
    seen[0] = energy.gaps()
    module = LandscapeModule(energy, lambda p: torch.optim.Adam(p, lr=0.05), block_size=1)
    bare_trainer([Watch(), probe()], 60, tmp_path).fit(module)
    record = last_record(tmp_path, "gap_distribution")
    steps = (record["t"] / 0.05).round().astype(int).to_numpy()
    assert steps[0] == 0 and len(steps) > 8
    before = seen[0]
    for k, step in enumerate(steps):
        gaps, at = seen[int(step)], record.isel(t=k)
        assert np.array_equal(at["unsatisfied"], (gaps > 0).sum(1))
        loss = gaps.clamp_min(0).square().mean(1) / 2
        assert at["loss"].to_numpy() == pytest.approx(loss.numpy(), rel=1e-12)
        for r in range(3):
            delta = gaps[r].numpy()
            for name, x in (
                ("positive", delta),
                ("negative", -delta),
                ("positive_rescaled", delta / loss[r].sqrt().item()),
            ):
                assert np.array_equal(at[name][r], np.histogram(x, record["edge"])[0]), name
        is_now, was = gaps > 0, before > 0
        assert np.array_equal(at["became_unsatisfied"], (is_now & ~was).sum(1))
        assert np.array_equal(at["became_satisfied"], (was & ~is_now).sum(1))
        before = gaps
    assert np.array_equal(record["gap"], seen[int(steps[-1])])
    assert record.attrs["weights"] == 5 * 8 + 8


def test_the_exponents_are_those_of_the_last_gaps(tmp_path):
    windows = {"theta_window": (0.01, 1.0), "gamma_window": (0.01, 4)}
    fit(probe(**windows), tmp_path, 150, network(samples=100, hidden=20))
    record = last_record(tmp_path, "gap_distribution")
    gap = record["gap"].to_numpy()
    L = np.square(np.maximum(gap, 0)).mean(1, keepdims=True) / 2
    theta = fit_power_law(gap / np.sqrt(L), 0.01, 1.0)
    gamma = fit_power_law(-gap, 0.01, 4)
    assert theta.count > 20 and gamma.count > 20
    assert float(record["theta"]) == pytest.approx(theta.exponent, rel=1e-9)
    error = max(theta.error, theta.replica_error)
    assert float(record["theta_error"]) == pytest.approx(error, rel=1e-9)
    assert float(record["gamma_count"]) == gamma.count
    assert float(record["gamma"]) == pytest.approx(-gamma.exponent, rel=1e-9)


def test_satisfied_is_decided_by_the_loss_and_not_by_counting(tmp_path):
    """Of gaps that approach 0 from above, all of size 1e-7, none is satisfied but the loss is."""

    def tiny(module, batch):
        gaps = torch.full((4, 50), 1e-7) * torch.tensor([[1.0], [1e3], [1.0], [1e6]])
        return torch.cat([gaps, torch.linspace(-0.29, -0.02, 20).expand(4, -1)], dim=1)

    energy = Quadratic(spectrum=[1.0, 2.0], replicas=4)
    fit(GapDistribution(first=0.05, last=0.1, gap_fn=tiny), tmp_path, 2, energy)
    last = last_record(tmp_path, "gap_distribution").isel(t=-1)
    assert last["unsatisfied"].values.tolist() == [50] * 4
    assert last["satisfied"].values.tolist() == [1, 0, 1, 0]
    # their positive gaps are no forces: they are left out of what is rescaled, and of theta; the
    # negative ones of gamma
    assert last["positive_rescaled"].sum("bin").values.tolist() == [0, 50, 0, 50]
    assert last["negative"].sum("bin").values.tolist() == [20] * 4
    assert last["gamma_count"] == 40


def test_avalanches_go_on_after_a_resume(tmp_path):
    fit(probe(), tmp_path / "whole", 60)
    fit(probe(), tmp_path / "parts", 33).save_checkpoint(tmp_path / "at33.ckpt")
    fit(probe(), tmp_path / "parts", 60, ckpt_path=tmp_path / "at33.ckpt")
    whole, parts = (last_record(tmp_path / part, "gap_distribution") for part in ("whole", "parts"))
    assert whole.identical(parts)
    assert whole["became_satisfied"].sum() > 0


def test_a_foreign_project_is_measured_on_its_batches(tmp_path):
    seen = {}

    class Watched(Classifier):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.net.eval()
            logits = self.net(batch[0])
            self.net.train()
            wrong = logits.argmax(1) != batch[1]
            seen[self.trainer.global_step] = int(wrong.sum())

    def errors(module, batch):
        module.net.eval()
        return classification_gaps(module.net(batch[0]), batch[1], margin=0.0)

    measured = GapDistribution(first=1, last=20, gap_fn=errors)
    train(Watched(), tmp_path, [measured])
    assert "became_satisfied" not in measured.results
    for step, n in zip(measured.results["step"], measured.results["unsatisfied"], strict=True):
        assert step == 0 or int(n) == seen[int(step)]


def test_figure_and_table_of_a_record(tmp_path):
    fit(probe(theta_window=(0.01, 1.0)), tmp_path, 60, network(samples=120))
    record = last_record(tmp_path, "gap_distribution")
    assert len(draw(record).axes) == 4
    table = {row.quantity.split("(")[0].split(" on")[0].split(",")[0]: row for row in rows(record)}
    last = record.isel(t=-1)
    assert table["N_Δ/N"].measured == pytest.approx(float(last["unsatisfied"].mean()) / 48)
    size = record["became_satisfied"] + record["became_unsatisfied"]
    tau = fit_size_law(size.transpose("replica", "t"), 1, 120)
    assert tau.count > 10
    assert table["τ of avalanche sizes"].measured == pytest.approx(-tau.exponent)
    assert table["θ"].exact == 0.3 and table["θ"].measured == float(record["theta"])


def test_an_energy_without_gaps_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"Quadratic does not know the gaps.*gap_fn"):
        fit(probe(), tmp_path, 2, Quadratic(spectrum=[1.0, 2.0]))


@pytest.mark.parametrize("window", [(0.0, 1.0), (1.0, 0.5)])
def test_a_window_is_named_when_it_is_refused(window):
    with pytest.raises(UsageError, match="gamma_window"):
        GapDistribution(gamma_window=window)


def test_the_patterns_of_all_ranks_count_in_a_foreign_project(tmp_path):
    """Two ranks with batches of 8 of their own are 16 patterns."""
    measured = GapDistribution(first=1, last=3, gap_fn=gaps_of_a_batch)
    train(Classifier(), tmp_path, [measured], strategy="ddp_fork", devices=2, max_epochs=1)
    record = last_record(tmp_path, "gap_distribution")
    assert record.sizes["pattern"] == 16
    per_time = record["positive"].sum("bin") + record["negative"].sum("bin")
    assert (per_time == 16).all()
