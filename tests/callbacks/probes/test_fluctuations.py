import logging
import math
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import xarray
from matplotlib.figure import Figure

from lightning_landscape.callbacks import TemperatureFluctuations
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews, ParallelTempering
from lightning_landscape.dynamics.schedules import Anneal
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    TwoOptimizers,
    bare_trainer,
    last_record,
    train,
)
from lightning_landscape.theory.thermal import harmonic

SPECTRUM = [1.0, 2.0, 4.0, 7.0, 9.0]

everything = partial(TemperatureFluctuations, max_share=math.inf)  # whatever the looks cost


class TestContract(ProbeContract):
    def make(self):
        return everything(equilibration=0.3, last=1.5, measurements=3)


def fit(module, probe, steps, folder, **trainer):
    resume = trainer.pop("ckpt_path", None)
    fitted = bare_trainer([probe], steps, folder, **trainer)
    fitted.fit(module, ckpt_path=resume)
    return fitted, last_record(folder, "temperature_fluctuations")


def valley(temperature, lr=0.1, replicas=8, block_size=100):
    energy = Quadratic(SPECTRUM, replicas=replicas, start=0.0, dtype="float64")
    return LandscapeModule(
        energy,
        lambda params: Langevin(params, lr=lr, temperature=temperature, seed=1),
        block_size=block_size,
    )


@pytest.fixture(scope="module")
def ladder(tmp_path_factory):
    """Two temperatures, 8 replicas each, in a valley of 5 directions."""
    temperature, folder = [0.1] * 8 + [1.0] * 8, tmp_path_factory.mktemp("ladder")
    probe = everything(equilibration=20, last=420, measurements=20, k=2)
    return fit(valley(temperature, replicas=16), probe, 4200, folder)[1]


def test_a_valley_of_known_rank(ladder):
    """Mean, variance and Gamma law with the correction of the step; 4 standard errors.

    The correction moves the mean by 30 % and is seen.
    """
    lr = 0.1
    for k, T in enumerate([0.1, 1.0]):
        mean, variance = (harmonic.energy_cumulant(n, SPECTRUM, T, lr) for n in (1, 2))
        at = ladder.isel(rung=k)
        assert float(at["T"]) == T
        assert abs(at["U"] - mean) < 4 * at["U_error"]
        assert abs(at["U_variance"] - variance) < 4 * at["U_variance_error"]
        assert at["U_error"] < 0.03 * mean and mean > 1.25 * 5 * T / 2
        assert at["N_mean"] == pytest.approx(2 * float(at["U"]) / T)
        assert at["N_var"] == pytest.approx(2 * float(at["U_variance"]) / T**2)
        assert abs(at["U_drift"]) < 4 * at["U_drift_error"]
    T_heat, N_heat, error = (float(ladder[n][0]) for n in ("T_heat", "N_heat", "N_heat_error"))
    exact = 2 * harmonic.energy_cumulant(1, SPECTRUM, 1.0, lr)
    assert T_heat == pytest.approx(0.1**0.5) and abs(N_heat - exact) < 4 * error


def test_the_autocorrelation_time_of_a_valley(ladder):
    """tau = sum of squares times (1 + d)/(1 - d) with d = (1 - lr lambda)^2; 4 errors and 7 %."""
    lam, lr = np.array(SPECTRUM), 0.1
    weight = (lam * harmonic.variance(lam, 1.0, lr)) ** 2
    d = (1 - lr * lam) ** 2
    exact = (weight * (1 + d) / (1 - d)).sum() / weight.sum()
    tau = ladder["U_tau"].to_numpy()
    assert (abs(tau - exact) < 0.07 * exact + 4 * ladder["U_tau_error"].to_numpy()).all()


def test_the_power_spectrum_of_a_valley(ladder):
    """All but the ends within 5 standard errors of 8 replicas; on average within 4, 1.5 % each."""
    f = ladder["frequency"].to_numpy()[2:-1]
    for r, T in ((slice(0, 8), 0.1), (slice(8, 16), 1.0)):
        power = ladder["power"].to_numpy()[2:-1, r]
        ratio = power / harmonic.energy_spectrum(f, SPECTRUM, T, 0.1)[:, None]
        error = ratio.std(1, ddof=1) / 8**0.5
        # the scatter of 8 replicas is itself uncertain: Student's law with 7 degrees of freedom
        assert np.mean(abs(ratio.mean(1) - 1) < 4 * error) > 0.98
        assert ratio.mean() == pytest.approx(1, abs=0.06)


def test_curvature_guard_and_displacement_of_a_valley(ladder):
    lr = 0.1
    assert ladder["trace"].to_numpy() == pytest.approx(sum(SPECTRUM), rel=1e-6)
    assert ladder["eigenvalues"].isel(rank=0).to_numpy() == pytest.approx(9, rel=1e-3)
    assert ladder["eigenvalues"].isel(rank=1).to_numpy() == pytest.approx(7, rel=1e-3)
    for k, T in enumerate([0.1, 1.0]):
        at = ladder.isel(rung=k)
        expected = harmonic.configurational_temperature_ratio(SPECTRUM, T, lr)
        assert expected > 1.35
        assert abs(at["temperature_ratio"] - expected) < 4 * at["temperature_ratio_error"]
    late = ladder.isel(lag=-1)
    assert late["msd_stiff_harmonic"].to_numpy() == pytest.approx(
        ladder["temperature"] * (1 / (9 * 0.55) + 1 / (7 * 0.65)), rel=1e-3
    )
    ratio = (ladder["msd_stiff"] / ladder["msd_stiff_harmonic"]).isel(lag=slice(5, None))
    per_replica = ratio.mean("lag")
    assert abs(per_replica.mean() - 1) < 4 * per_replica.std(ddof=1) / 4
    assert ladder["msd_flat_harmonic"][0].to_numpy() == pytest.approx(
        2 * ladder["temperature"] * 0.1
    )


def test_the_record_counts_every_step_of_the_window(ladder):
    assert (ladder["samples"] == 4000).all()
    assert (ladder["counts"].sum("bin") == 4000 // 256 * 256).all()
    assert ladder["t"].to_numpy()[[0, -1]] == pytest.approx([40, 420])
    area = (ladder["density"] * ladder["U_over_T"].diff("level").mean()).sum("level")
    assert area.to_numpy() == pytest.approx(1, rel=0.02)
    for name in ("density", "density_gamma"):
        first = (ladder[name] * ladder["U_over_T"]).sum("level") / ladder[name].sum("level")
        assert first.to_numpy() == pytest.approx(ladder["N_mean"] / 2, rel=0.02)


def test_the_figure_and_the_table(ladder):
    assert isinstance(draw(ladder), Figure)
    table = {row.quantity: row for row in rows(ladder)}
    guard = table["⟨|∇U|²⟩/T⟨tr H⟩ (T = 0.1)"]
    assert guard.exact == 1 and guard.deviation > 4
    assert table["N = 2 d⟨U⟩/dT (T = 0.316)"].measured == pytest.approx(7, abs=1)
    assert table["⟨U⟩/T (T = 1)"].measured == pytest.approx(3.4, abs=0.3)


def test_a_step_size_that_invalidates_the_sampler_is_reported(tmp_path, caplog):
    """And one that does not is not."""
    for lr, said in ((0.2, True), (0.01, False)):
        caplog.clear()
        probe = everything(equilibration=200 * lr, last=600 * lr, measurements=20, k=1)
        with caplog.at_level(logging.WARNING):
            fit(valley(0.1, lr=lr, replicas=64), probe, 600, tmp_path / str(lr))
        assert ("lower lr" in caplog.text) == said, caplog.text


def test_blocks_and_resuming_change_nothing(tmp_path):
    """A run in other blocks, killed at step 377 of 700, ends with the same record."""

    def make():
        return everything(equilibration=10, last=65, measurements=5, segment=128)

    _, whole = fit(valley(0.5), make(), 700, tmp_path / "whole")
    parts = tmp_path / "parts"
    first, _ = fit(valley(0.5, block_size=7), make(), 377, parts)
    first.save_checkpoint(parts / "at.ckpt")
    module = valley(0.5, block_size=1000)
    _, resumed = fit(module, make(), 700, parts, ckpt_path=parts / "at.ckpt")
    xarray.testing.assert_identical(whole, resumed)
    assert whole["power"].notnull().all()


def test_in_a_foreign_project_the_energy_is_the_loss_of_the_step(tmp_path):
    losses = []

    class Watched(Classifier):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            losses.append(loss.item())
            return loss

        def on_train_start(self):
            losses.clear()

    probe = everything(equilibration=4, last=20, measurements=4, temperature=0.1)
    # looks evaluate the loss through the same training_step: they come after, at known steps
    module = Watched()
    seen = []
    add = probe._watch

    def watch(view, values):
        seen.append(values.item())
        add(view, values)

    probe._watch = watch
    train(module, tmp_path, [probe])
    assert len(seen) == 16
    assert set(np.float32(seen)) <= set(np.float32(losses))
    record = last_record(tmp_path, "temperature_fluctuations")
    assert record["samples"].item() == 16
    assert record["mean"].item() == pytest.approx(np.mean(seen))
    assert record["N_mean"].item() == pytest.approx(20 * np.mean(seen))


def test_accumulated_batches_count_as_one_step(tmp_path):
    """The energy of a step is the mean over its batches, as its gradient is."""
    losses = []

    class Watched(Classifier):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            losses.append(3 * outputs["loss"].item())

    probe = everything(equilibration=1, last=5, measurements=1)
    train(Watched(), tmp_path, [probe], accumulate_grad_batches=3)
    record = last_record(tmp_path, "temperature_fluctuations")
    # 8 batches an epoch: steps of 3, 3 and 2
    steps = [np.mean(losses[a:b]) for a, b in ((3, 6), (6, 8), (8, 11), (11, 14))]
    assert record["mean"].item() == pytest.approx(np.mean(steps))


def test_a_foreign_module_may_hold_an_energy_of_ours(tmp_path):
    """It has no blocks: the energies of its replicas are evaluated after one step in 20."""

    class Foreign(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.energy = Quadratic([1.0, 2.0], replicas=3, dtype="float64")

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.energy().sum())
            optimizer.step()

    module = Foreign()
    probe = everything(equilibration=4, last=40, measurements=4, k=1)
    train(module, tmp_path, [probe], max_epochs=5, limit_train_batches=8)
    record = last_record(tmp_path, "temperature_fluctuations")
    assert record["samples"].to_numpy().tolist() == [2, 2, 2]
    with torch.no_grad():
        last = module.energy().numpy()
    assert record["least"].to_numpy() == pytest.approx(last)


def test_manual_optimization_without_a_loss_is_measured_after_some_of_the_steps(tmp_path, caplog):
    """And it is said; where it returns its loss that is taken, at every batch."""
    with caplog.at_level(logging.INFO):
        train(TwoOptimizers(), tmp_path, [everything(equilibration=4, last=44, measurements=1)],
              max_epochs=3)  # fmt: skip
    record = last_record(tmp_path, "temperature_fluctuations")
    assert record["samples"].item() == 1  # one batch in 20, of 24
    assert "one step in 20" in caplog.text
    assert record["mean"].item() == pytest.approx(0.6, abs=0.3)

    class Telling(TwoOptimizers):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            return {"loss": self.loss(batch).detach()}

    train(Telling(), tmp_path, [everything(equilibration=4, last=44, measurements=1)],
          max_epochs=3)  # fmt: skip
    record = last_record(tmp_path, "temperature_fluctuations")
    assert record["samples"].item() == 20


def test_looks_are_thinned_to_their_share_and_lags_are_not(tmp_path):
    """Of 20 looks in 400 steps, 30 products of 1.5 gradients each, a quarter leaves two."""
    settings = {"equilibration": 10, "last": 40, "measurements": 20, "k": 1}
    thin = TemperatureFluctuations(max_share=0.25, **settings)
    _, record = fit(network(), thin, 400, tmp_path / "thin")
    assert record["t"].to_numpy() == pytest.approx([25, 40])
    _, whole = fit(network(), everything(**settings), 400, tmp_path / "whole")
    assert whole.sizes["t"] == 20 and record["lag"].identical(whole["lag"])


def test_the_temperature_of_mini_batches_is_measured(tmp_path):
    """The T of the record is lr D / 2 with D from gradients of single samples, one at a time."""
    data = RandomData(samples=20, dimension=5)
    energy = NetworkEnergy(FullyConnected([5, 8, 1], replicas=3), data)
    module = LandscapeModule(
        energy, lambda params: torch.optim.SGD(params, lr=0.1), batches=Batches(4)
    )
    _, record = fit(module, everything(equilibration=1, last=20, measurements=5), 200, tmp_path)
    gradients = []
    for mu in range(20):
        module.energy.zero_grad()
        energy(torch.tensor([mu])).sum().backward()
        gradients.append(torch.cat([p.grad.reshape(3, -1) for p in energy.parameters()], 1))
    D = torch.stack(gradients).double().var(0).mean(1) * (1 - 4 / 20) / 4
    assert record["batch_temperature"][-1].to_numpy() == pytest.approx(0.1 * D / 2, rel=1e-5)
    T = float(record["batch_temperature"].mean())
    assert record["T"].to_numpy() == pytest.approx([T])
    assert record["U"].item() == pytest.approx(float(record["full_energy"].mean()))
    assert record["N_mean"].item() == pytest.approx(2 * record["U"].item() / T)
    assert "T = lr D/2" in str([row.quantity for row in rows(record)])
    assert draw(record) is not None


def network(**settings):
    data = RandomData(samples=20, dimension=5)
    energy = NetworkEnergy(FullyConnected([5, 8, 1], replicas=3), data)
    return LandscapeModule(
        energy, lambda params: Langevin(params, lr=0.1, temperature=0.01), **settings
    )


@pytest.mark.slow
def test_with_mini_batches_the_whole_energy_stands_beside(tmp_path):
    probe = everything(equilibration=1, last=20, measurements=5)
    module = network(batches=Batches(4))
    _, record = fit(module, probe, 200, tmp_path)
    with torch.no_grad():
        whole = module.energy().double().numpy()
    assert record["full_energy"][-1].to_numpy() == pytest.approx(whole, rel=1e-6)
    assert (record["variance"] > 2 * record["full_energy"].var("t")).all()
    gaps = module.energy.gaps().numpy() - module.energy.margin
    assert record["near_boundary"][-1].to_numpy().tolist() == (abs(gaps) <= 1).sum(1).tolist()
    assert ((record["active_data"] >= 1) & (record["active_data"] <= 20)).all()


def test_on_the_sphere_gradient_and_trace_are_tangent(tmp_path):
    """A planted glass is in equilibrium at once: the Ito ratio is 1, within 4 standard errors."""
    energy = SphericalPSpin(N=24, replicas=40, start_temperature=1.0, disorder="independent")
    module = LandscapeModule(energy, lambda p: Langevin(p, lr=0.005, temperature=1.0))
    probe = everything(equilibration=0.5, last=1.5, measurements=10, k=1, lowest_energy=-28)
    _, record = fit(module, probe, 300, tmp_path)
    assert abs(record["temperature_ratio"] - 1) < 4 * record["temperature_ratio_error"]
    assert record["temperature_ratio_error"] < 0.05


def test_where_replicas_are_exchanged_their_ways_are_not_shown(tmp_path):
    """What is left is that of a temperature: the dimensions of a valley, within 4 errors."""
    energy = Quadratic(SPECTRUM, replicas=16, start=0.0, dtype="float64")
    swaps = ParallelTempering(every=5, chains=8)
    module = LandscapeModule(
        energy, lambda p: LeimkuhlerMatthews(p, 0.05, [0.1] * 8 + [0.2] * 8, exchange=swaps)
    )
    _, record = fit(module, everything(20, 100, measurements=5), 2000, tmp_path)
    assert "msd_stiff" not in record and "N_participation" not in record
    assert (abs(record["N_mean"] - 5) < 4 * record["N_mean_error"]).all()
    assert (record["N_mean_error"] < 0.3).all() and draw(record) is not None


def test_a_temperature_that_changes_in_the_window_is_refused(tmp_path):
    module = valley(Anneal(1.0, 0.1, 30.0))
    with pytest.raises(UsageError, match=r"equilibration = 20: the temperature still changes"):
        fit(module, everything(equilibration=20, last=60), 600, tmp_path)
    module = valley(Anneal(1.0, 0.1, 30.0))
    _, record = fit(module, everything(equilibration=40, last=60), 600, tmp_path)
    assert record["T"].to_numpy() == pytest.approx([0.1])


def test_without_a_temperature_there_are_no_dimensions(tmp_path):
    energy = Quadratic(SPECTRUM, replicas=2)
    module = LandscapeModule(energy, lambda params: torch.optim.SGD(params, lr=0.01))
    _, record = fit(module, everything(0.1, 3, measurements=5), 300, tmp_path)
    assert record["N_mean"].isnull().all() and record["mean"].notnull().all()
    assert draw(record) is not None
    assert "ito" not in str([row.quantity for row in rows(record)])


def test_a_run_that_ends_before_the_window_leaves_an_empty_record(tmp_path):
    _, record = fit(valley(0.1), everything(50, 60), 100, tmp_path)
    assert record.sizes["t"] == 0 and draw(record) is None and not list(rows(record))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"equilibration": -1}, "equilibration = -1: must be 0 or later"),
        ({"equilibration": 5, "last": 5}, "last = 5: must be later than equilibration"),
        ({"measurements": 0}, "measurements = 0: must be at least 1"),
        ({"random_vectors": 1}, "random_vectors = 1: must be at least 2"),
        ({"segment": 7}, "segment = 7: must be even"),
        ({"boundary": 0}, "boundary = 0: must be greater than 0"),
        ({"k": 0}, "k = 0: must be at least 1"),
        ({"max_share": 0}, "max_share = 0: must be greater than 0"),
    ],
)
def test_senseless_arguments_are_refused(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        TemperatureFluctuations(**arguments)
