import math
import os
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import records
from lightning_landscape.__main__ import main
from lightning_landscape.callbacks import EnergyRelaxation, HessianSpectrum, NoiseSpectrum
from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature import HessianOperator, blocks, hessian_of
from lightning_landscape.data import Digits
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import (
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)
from lightning_landscape.theory.random_matrices import goe_largest_eigenvalue


class TestContract(ProbeContract):
    """With so small a budget that the 106 parameters of the network are estimated, not solved."""

    def make(self):
        return HessianSpectrum(
            last=10,
            per_decade=1,
            k=2,
            random_vectors=2,
            steps=10,
            max_products=30,
            dense_up_to=0,
            max_share=math.inf,
        )


class TestContractWhereAllEigenvaluesAreComputed(ProbeContract):
    def make(self):
        return HessianSpectrum(last=8, per_decade=1, max_share=math.inf)


class TestContractOfPyHessian(ProbeContract):
    """It erases gradients, switches modes and draws random numbers; nothing of that is left."""

    def make(self):
        return HessianSpectrum(
            last=8, per_decade=1, k=1, random_vectors=2, steps=2, max_products=2,
            max_share=math.inf, backend="pyhessian",
        )  # fmt: skip


def fit(module, probe, steps, folder, **trainer):
    bare_trainer([probe], steps, folder, **trainer).fit(module)
    return last_record(folder, "hessian_spectrum")


def test_of_a_quadratic_it_is_the_given_spectrum(tmp_path):
    spectrum = [-0.5, 0.25, 1.0, 3.0]
    module = LandscapeModule(Quadratic(spectrum, replicas=2), torch.optim.SGD)
    record = fit(
        module, HessianSpectrum(first=1e-3, last=1e-3, k=2, max_share=math.inf), 3, tmp_path
    )
    for replica in range(2):
        at = record.isel(t=-1, replica=replica)
        assert at["eigenvalues"].values == pytest.approx(spectrum, abs=1e-6)
        assert at["highest"].values == pytest.approx([3, 1], abs=1e-6)
        assert at["lowest"].values == pytest.approx([-0.5, 0.25], abs=1e-6)
        assert at["negative"] == at["negative_lower"] == at["negative_upper"] == 0.25
        assert at["trace"] == pytest.approx(3.75) and at["trace_of_square"] == pytest.approx(
            10.3125
        )
        assert at["fraction"].sum() == 1
        inside = (at["edges"][1:].values > 3.0) & (at["edges"][:-1].values <= 3.0)
        assert at["fraction"].values[inside] == 0.25


def test_of_a_glass_it_is_the_tangent_spectrum_around_the_multiplier(tmp_path):
    """P (H + mu) P of the stored configuration by brute force; no zero mode along x."""
    energy = SphericalPSpin(N=20, p=3, replicas=3, seed=1, dtype="float64")
    module = LandscapeModule(energy, lambda p: Langevin(p, lr=0.02, temperature=0.1, seed=2))
    record = fit(
        module, HessianSpectrum(first=0.2, last=0.2, k=3, max_share=math.inf), 10, tmp_path
    ).isel(t=-1)
    H, x = energy.hessian(), energy.configuration()
    mu = -3 * energy().detach() / 20  # Euler: x.grad H = 3 H
    assert record["multiplier"].values == pytest.approx(mu.numpy())
    for r in range(3):
        basis = torch.linalg.qr(torch.cat([x[r, :, None], torch.eye(20)[:, :19]], 1)).Q[:, 1:]
        exact = torch.linalg.eigvalsh(basis.mT @ H[r] @ basis) + mu[r]
        assert record["eigenvalues"][r].values == pytest.approx(exact.numpy(), abs=1e-9)


def test_a_glass_at_random_points_has_the_semicircle_of_theory(tmp_path):
    """tr H^2 / (N - 1) = mu^2 + f''(1) to 1/N, and the largest eigenvalue of the GOE, 4 sigmas."""
    energy = SphericalPSpin(N=64, p=3, replicas=64, disorder="independent", seed=1)
    module = LandscapeModule(energy, lambda p: Langevin(p, lr=0.02, temperature=0.3))
    record = fit(
        module, HessianSpectrum(first=0.02, last=0.02, k=1, max_share=math.inf), 1, tmp_path
    )
    start = record.isel(t=0)
    upper = start["highest"].isel(rank=0) - start["multiplier"]
    expected = goe_largest_eigenvalue(64, radius=12**0.5)
    assert abs(upper.mean() - expected) < 4 * upper.std() / 8
    moment = start["trace_of_square"] / 63 - start["multiplier"] ** 2
    assert abs(moment.mean() - 3) < 4 * moment.std() / 8 + 2 / 64
    assert start["upper_edge_exact"] - start["lower_edge_exact"] == pytest.approx(2 * 12**0.5)
    assert abs(start["negative"].mean() - start["negative_exact"]) < 4 * start["negative"].std() / 8
    inside = start["fraction"].mean("replica").values
    theory = start["density_exact"].values * start["edges"].diff("edge").values
    assert inside == pytest.approx(theory, abs=0.005)
    assert theory.sum() == pytest.approx(1, abs=0.01)


def test_the_record_has_a_figure_and_rows(digits):
    figure = draw(digits[2])
    assert [axes.get_yscale() for axes in figure.axes] == ["symlog", "log", "log"]
    figure.draw_without_rendering()
    table = {row.quantity: row for row in rows(digits[2])}
    exact = digits[2].isel(t=-1)["eigenvalues"]
    row = table["λ_max(t = 0.01)"]
    assert row.exact == pytest.approx(float(exact.max("eigenvalue").mean()))
    assert row.measured == pytest.approx(row.exact, rel=2e-3)
    row = table["tr H(t = 0.01)"]
    assert abs(row.deviation) < 4
    assert row.exact == pytest.approx(float(exact.sum("eigenvalue").mean()))


def test_a_glass_has_a_figure_and_rows(tmp_path):
    module = LandscapeModule(SphericalPSpin(N=12, p=3, replicas=2), torch.optim.SGD)
    record = fit(
        module, HessianSpectrum(first=1e-3, last=1e-3, k=2, max_share=math.inf), 1, tmp_path
    )
    draw(record).draw_without_rendering()
    table = {row.quantity: row for row in rows(record)}
    assert table["λ_min(t = 0)"].exact == pytest.approx(float(record["lower_edge_exact"][0]))
    assert not math.isnan(table["tr H²(t = 0)/N"].exact)


def test_pyhessian_on_two_replicas_of_a_glass(tmp_path):
    """What it does not look for is nan in the record and left out of figure and table."""
    module = LandscapeModule(SphericalPSpin(N=12, p=3, replicas=2), torch.optim.SGD)
    probe = HessianSpectrum(
        first=1e-3,
        last=1e-3,
        k=2,
        random_vectors=3,
        steps=5,
        max_share=math.inf,
        backend="pyhessian",
    )
    record = fit(module, probe, 1, tmp_path)
    assert record.attrs["backend"] == "pyhessian"
    both = np.concatenate([record["highest"], record["lowest"]], -1)
    assert (np.isfinite(both).sum(-1) == 2).all()  # two by modulus, wherever they are
    residuals = np.concatenate([record["highest_residual"], record["lowest_residual"]], -1)
    assert (np.isfinite(both) == np.isfinite(residuals)).all()
    assert "part_trace" not in record and "eigenvalues" not in record
    draw(record).draw_without_rendering()
    assert all(row.quantity for row in rows(record))


@pytest.mark.parametrize(
    ("budget", "tolerance"),
    [
        ({"dense_up_to": 1000}, 1e-10),
        ({"dense_up_to": 0, "max_products": 38, "random_vectors": 2}, 2e-3),
    ],
)
def test_eigenvectors_are_those_of_the_eigenvalues_beside_them(tmp_path, budget, tolerance):
    """H y = theta y in the coordinates of the configuration, and y orthogonal to it."""
    energy = SphericalPSpin(N=20, p=3, replicas=2, seed=1, dtype="float64")
    module = LandscapeModule(energy, torch.optim.SGD)
    probe = HessianSpectrum(
        first=1e-3, last=1e-3, k=3, max_share=math.inf, eigenvectors=True, **budget
    )
    record = fit(module, probe, 1, tmp_path).isel(t=-1)
    tangent = hessian_of(energy)
    for end in ("highest", "lowest"):
        assert record[f"{end}_vector"].dims == ("replica", "rank", "coordinate")
        Y = torch.tensor(record[f"{end}_vector"].values)
        theta = torch.tensor(record[end].values)
        assert (Y @ energy.configuration()[..., None]).abs().max() < 1e-10
        HY = tangent.A @ Y + tangent.multiplier[:, None, None] * Y
        x = energy.configuration()
        HY -= (HY @ x[..., None]) * x[:, None] / 20
        assert torch.linalg.vector_norm(HY - theta[..., None] * Y, dim=-1).max() < tolerance * 5


def test_eigenvectors_that_do_not_fit_into_a_checkpoint_are_refused(tmp_path):
    """2 k R N = 160 x 67 510 numbers are 41 MiB, at 0, 1, 3, …, 1000: 8 times."""
    energy = NetworkEnergy(FullyConnected([64, 900, 10], replicas=4), Digits())
    module = LandscapeModule(energy, lambda p: torch.optim.SGD(p, lr=1.0))
    probe = HessianSpectrum(k=20, eigenvectors=True, max_share=math.inf)
    with pytest.raises(UsageError, match=r"eigenvectors = True: would take 330 MiB at 8 times"):
        fit(module, probe, 1000, tmp_path)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A network of 460 parameters, estimated and solved; float64, 2 replicas."""
    architecture = FullyConnected([64, 6, 10], replicas=2, seed=1, dtype="float64")
    module = LandscapeModule(NetworkEnergy(architecture, Digits()), torch.optim.SGD)
    probe = HessianSpectrum(
        first=0.01,
        last=0.01,
        k=10,
        random_vectors=8,
        steps=20,
        max_products=150,
        max_share=math.inf,
    )
    record = fit(module, probe, 10, tmp_path_factory.mktemp("digits"))
    return module, probe, record


def test_estimates_agree_with_all_eigenvalues(digits):
    record = digits[2].isel(t=-1)
    exact = record["eigenvalues"].values
    assert record["highest_converged"].all() and record["lowest_converged"].all()
    assert record["separated"].all()
    assert record["highest"].values == pytest.approx(exact[:, :-11:-1], rel=2e-3)
    assert record["lowest"].values == pytest.approx(exact[:, :10], rel=2e-3)
    negative = (exact < float(record["zero"])).mean(1)
    assert (record["negative_lower"] <= negative).all()
    assert (negative <= record["negative_upper"]).all()
    for name, power in (("trace", 1), ("trace_of_square", 2)):
        deviation = record[name] - (exact**power).sum(1)
        assert (abs(deviation) < 4 * record[f"{name}_error"]).all(), name  # 4 standard errors
        assert (record[f"{name}_error"] < 0.1 * record[name]).all()
    assert record["fraction"].sum("bin").values == pytest.approx(1)


def test_traces_of_the_layers_sum_to_the_trace(digits):
    _, _, record = digits
    layers = ["weights.0", "weights.1", "biases.0", "biases.1"]
    assert [str(name) for name in record["part"].values] == [f"architecture.{n}" for n in layers]
    assert record["part_trace"].sum("part").values == pytest.approx(record["trace"].values)


def test_the_trace_of_a_layer_is_that_of_its_block(digits):
    module, _, record = digits
    H = HessianOperator(module.energy, module.energy.parameters()).dense()
    diagonal = H.diagonal(dim1=1, dim2=2)
    at = record.isel(t=-1)
    for name, part in blocks(module.energy, 2).items():
        layer = at.sel(part=name)
        deviation = layer["part_trace"] - diagonal[:, part].sum(1).numpy()
        assert (abs(deviation) < 5 * layer["part_trace_error"]).all(), name


def test_scalars_and_the_class_count_are_recorded(digits):
    _, probe, record = digits
    assert record.attrs["classes"] == 10
    assert probe.measured_step == 10
    assert record["products"].values == pytest.approx(460)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2)).double()


class Project(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = net()

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class OfThisRank:
    """Samples r, r + world, …: the batches of two ranks make one batch of twice the size."""

    def __iter__(self):
        return iter(range(self._rank(), 64, self._world()))

    def __len__(self):
        return 64 // self._world()

    def _rank(self):
        return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0

    def _world(self):
        return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def fit_project(probes, folder, batch_size, **trainer):
    torch.manual_seed(2)
    x = torch.randn(64, 8, dtype=torch.float64)
    data = TensorDataset(x, (x[:, 0] > 0).long())
    loader = DataLoader(data, batch_size=batch_size, sampler=OfThisRank())
    module = Project()
    bare_trainer(probes, -1, folder, max_epochs=1, **trainer).fit(module, loader)
    return (
        module,
        x,
        [last_record(folder, probe.name) for probe in probes],
    )


FOREIGN = {
    "last": 8,
    "k": 3,
    "random_vectors": 4,
    "steps": 10,
    "max_products": 40,
    "max_share": math.inf,
}


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_in_a_foreign_project_it_is_that_of_the_loss_on_the_batch(tmp_path):
    probe = HessianSpectrum(**FOREIGN)
    module, x, (record,) = fit_project([probe], tmp_path, 8)
    batch = x[-8:]  # the last of 8 batches; the step has been taken
    y = (batch[:, 0] > 0).long()
    H = HessianOperator(
        lambda: nn.functional.cross_entropy(module.net(batch), y), module.parameters()
    ).dense()
    exact = torch.linalg.eigvalsh(H[0])
    assert record.isel(t=-1)["eigenvalues"][0].values == pytest.approx(exact.numpy(), abs=1e-10)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dense_up_to", [0, 1000])
def test_two_processes_with_half_a_batch_each_give_one_with_the_whole(tmp_path, dense_up_to):
    """And so do the energy, and the Hessian that is compared with the noise."""
    budget = FOREIGN | {"dense_up_to": dense_up_to, "steps": 4, "max_products": 20}

    def probes():
        noise = NoiseSpectrum(first=1, last=8, k=2, random_vectors=2, groups=4)
        return [HessianSpectrum(**budget), EnergyRelaxation(first=1, last=8), noise]

    one = fit_project(probes(), tmp_path / "one", 8)[2]
    two = fit_project(
        probes(), tmp_path / "two", 4,
        strategy="ddp_fork", devices=2, use_distributed_sampler=False,
    )[2]  # fmt: skip
    assert ("eigenvalues" in one[0]) == (dense_up_to > 0)
    of_spectrum = ("highest", "lowest", "trace", "trace_of_square", "part_trace")
    for k, names in enumerate((of_spectrum, ("energy",), ("curvatures",))):
        for name in names:
            found, expected = two[k][name].values, one[k][name].values
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), name


def test_dropout_is_the_same_for_all_products(tmp_path):
    """Masks that changed between the products would make the matrix asymmetric."""
    probe = HessianSpectrum(last=8, dense_up_to=0, steps=10, max_products=300, max_share=math.inf)
    module = Classifier()
    train(module, tmp_path, [probe])
    record = last_record(tmp_path, "hessian_spectrum")
    # residual of exact eigenvalues: half the asymmetry; the budget covers the 106 parameters
    assert (record["highest_residual"] < 1e-5 * abs(record["highest"]).max()).all()


def test_measurements_are_thinned_to_their_share_and_the_last_is_kept(tmp_path, caplog):
    """An analytic Hessian counts as 10 gradients; 8 % of 500 steps buy 4."""

    def module():
        return LandscapeModule(Quadratic([1.0] * 40), lambda p: torch.optim.SGD(p, lr=0.5))

    with caplog.at_level("INFO", logger="lightning_landscape"):
        record = fit(module(), HessianSpectrum(first=0.5, last=250, max_share=0.08), 500, tmp_path)
    assert record.sizes["t"] == 4 and record["t"][-1] == 250
    assert "4 of 8 measurements of at most 10 gradients" in caplog.text
    assert "of the run" in caplog.text.splitlines()[-1]
    unthinned = HessianSpectrum(first=0.5, last=250, max_share=math.inf)
    assert fit(module(), unthinned, 500, tmp_path).sizes["t"] == 8


class Kill(pl.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step >= 50:
            trainer.save_checkpoint(f"{trainer.default_root_dir}/killed.ckpt")
            raise KeyboardInterrupt


def test_a_thinned_run_that_was_killed_ends_with_the_same_record(tmp_path):
    import xarray

    def module():
        return LandscapeModule(Quadratic([1.0] * 40), lambda p: torch.optim.SGD(p, lr=0.5))

    def make():
        return HessianSpectrum(first=0.5, last=250, max_share=0.08)

    whole = fit(module(), make(), 500, tmp_path / "whole")
    killed = bare_trainer([make(), Kill()], 500, tmp_path / "parts")
    with pytest.raises(SystemExit):
        killed.fit(module())
    resumed = bare_trainer([make()], 500, tmp_path / "parts")
    resumed.fit(module(), ckpt_path=tmp_path / "parts/killed.ckpt")
    again = last_record(tmp_path / "parts", "hessian_spectrum")
    xarray.testing.assert_identical(whole, again)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"k": 0}, "k = 0"),
        ({"random_vectors": 1}, "random_vectors = 1"),
        ({"steps": 0}, "steps = 0"),
        ({"max_products": 5}, "max_products = 5: must be at least 2 k = 20"),
        ({"max_share": 0}, "max_share = 0"),
        ({"first": 0}, "first = 0"),
        ({"backend": "pyhesian"}, "backend = pyhesian: .*did you mean pyhessian"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        HessianSpectrum(**arguments)


def test_a_typo_in_the_backend_is_one_sentence_in_a_configuration(tmp_path, capsys):
    config = (Path(__file__).parents[3] / "configs/digits/spectrum.yaml").read_text()
    there = "dense_up_to: 1500"
    assert there in config
    path = tmp_path / "typo.yaml"
    path.write_text(config.replace(there, f"{there}, backend: pyhesian"))
    assert main(["fit", "--config", str(path)]) == 2
    assert "backend = pyhesian: must be one of landscape, pyhessian (did" in capsys.readouterr().err


def test_half_precision_is_refused_before_the_first_step(tmp_path, caplog):
    probe = HessianSpectrum(last=8)
    train(Classifier(), tmp_path, [probe], precision="bf16-true", max_epochs=1)
    assert not probe.active
    assert "step 0, and the run goes on: precision = torch.bfloat16" in caplog.text
    assert "bf16-mixed" in caplog.text


def test_a_share_may_mean_no_measurement(tmp_path, caplog):
    probe = HessianSpectrum(max_share=0.05)
    train(Classifier(), tmp_path, [probe], max_epochs=8)
    assert probe.measured_step == -1
    assert probe.active
    said = "hessian_spectrum: nothing is measured: one measurement costs"
    assert caplog.text.count(said) == 1
    assert "max_share = 0.05 of the 64 steps" in caplog.text


def test_memory_stays_flat_over_40_measurements():
    """A graph of 1437 samples that outlived its measurement would cost megabytes each time."""
    architecture = FullyConnected([64, 64, 10], seed=1)
    module = LandscapeModule(NetworkEnergy(architecture, Digits()), torch.optim.SGD)
    budget = {"k": 1, "random_vectors": 2, "steps": 1, "max_products": 2, "dense_up_to": 0}
    probe, view = HessianSpectrum(**budget), View(module, None, 0)
    probe.record(view)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(5):
        probe.measure(view, [0])
    before = resident()
    for _ in range(40):
        probe.measure(view, [0])
    assert resident() - before < 20e6


def test_a_run_that_has_diverged_goes_on_as_without_the_probe(tmp_path, caplog):
    module = Classifier()
    with torch.no_grad():
        module.net[0].weight[0, 0] = torch.nan
    train(module, tmp_path, [HessianSpectrum(last=8, max_share=math.inf)])
    assert "step 1: a parameter is not finite" in caplog.text
    record = records.read(next(tmp_path.rglob("hessian_spectrum.nc")))
    assert record.sizes["t"] == 0
    assert record.attrs["diverged"] == "a parameter is not finite at step 8"
