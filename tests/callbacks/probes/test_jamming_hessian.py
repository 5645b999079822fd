import pytest
import pytorch_lightning as pl
import torch

from lightning_landscape.callbacks import JammingHessian
from lightning_landscape.data import RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables.jamming import part_spectra
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import bare_trainer, last_record


def network(samples=60, dtype="float64"):
    architecture = FullyConnected([5, 8, 1], replicas=2, dtype=dtype)
    return NetworkEnergy(architecture, RandomData(samples, 5, test_samples=5), "quadratic_hinge")


def fit(probe, folder, steps, energy=None, ckpt_path=None):
    module = LandscapeModule(energy or network(), lambda params: torch.optim.Adam(params, lr=0.05))
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(module, ckpt_path=ckpt_path)
    return trainer, module


def probe():
    return JammingHessian(times=[0, 0.5, 1.0])


def record_of(folder):
    return last_record(folder, "jamming_hessian")


def test_the_record_holds_the_parts_and_their_modes(tmp_path):
    start, (_, module) = network(), fit(probe(), tmp_path, 20)
    record = record_of(tmp_path)
    assert record["t"].values.tolist() == [0.0, 0.5, 1.0]
    assert record["part"].values.tolist() == ["H", "H0", "Hp"]
    for k, energy in ((0, start), (2, module.energy)):
        at = record.isel(t=k)
        spectra = part_spectra(energy)
        assert at["eigenvalues"].to_numpy() == pytest.approx(spectra.numpy(), abs=1e-12)
        assert at["unsatisfied"].values.tolist() == (energy.gaps() > 0).sum(1).tolist()
        assert at["loss"].values == pytest.approx(energy().detach().numpy(), rel=1e-12)
    small = abs(record["eigenvalues"]) < 1e-12 * abs(record["eigenvalues"]).max("eigenvalue")
    assert (record["zero"] == small.sum("eigenvalue")).all()
    N, below = 57, (record["eigenvalues"] < 0) & ~small
    assert (record["negative"] == below.sum("eigenvalue")).all()
    assert (N - record["zero"].sel(part="H0") <= record["unsatisfied"]).all()
    assert (record["negative"].sel(part="H0") == 0).all()
    assert (record["effective_parameters"] <= N - 8).all()


def test_the_trajectory_is_unchanged_and_a_resumed_run_gives_the_same_record(tmp_path):
    _, whole = fit(probe(), tmp_path / "whole", 20)
    _, alone = fit(pl.Callback(), tmp_path / "alone", 20)
    assert torch.equal(whole.energy.configuration(), alone.energy.configuration())
    first, _ = fit(probe(), tmp_path / "parts", 13)
    first.save_checkpoint(tmp_path / "at13.ckpt")
    fit(probe(), tmp_path / "parts", 20, ckpt_path=tmp_path / "at13.ckpt")
    assert record_of(tmp_path / "whole").identical(record_of(tmp_path / "parts"))


def test_a_network_that_fits_has_no_curvature(tmp_path):
    """Four patterns are soon fitted with the margin: then all modes of all parts are zero."""
    fit(JammingHessian(times=[0, 10]), tmp_path, 200, network(samples=4))
    last = record_of(tmp_path).isel(t=-1)
    fits = (last["unsatisfied"] == 0).to_numpy()
    assert fits.any()
    assert (last["zero"].isel(replica=fits) == 57).all()
    assert (last["negative"].isel(replica=fits) == 0).all()


def test_figure_and_table(tmp_path):
    fit(probe(), tmp_path, 20)
    record = record_of(tmp_path)
    assert len(draw(record).axes) == 3
    table = {row.quantity: row.measured for row in rows(record)}
    last = record.isel(t=-1)
    assert table["N_Δ"] == float(last["unsatisfied"].mean())
    assert 0 < table["rank of H0"] <= table["N_Δ"]
    assert table["largest |tr Hp|/tr|Hp|"] < 1e-12


@pytest.mark.parametrize(
    "energy, words",
    [
        (Quadratic(spectrum=[1.0, 2.0]), "Quadratic: must be a NetworkEnergy"),
        (network(dtype="float32"), "float64"),
    ],
)
def test_what_cannot_be_measured_is_refused(energy, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        fit(probe(), tmp_path, 1, energy)


def test_large_networks_are_refused_before_the_run(tmp_path):
    with pytest.raises(UsageError, match=r"N = 57.*dense_up_to"):
        fit(JammingHessian(times=[0], dense_up_to=50), tmp_path, 1)


def test_times_are_named_when_they_are_refused():
    with pytest.raises(UsageError, match="times"):
        JammingHessian(times=[])
