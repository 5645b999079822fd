"""The probe TangentKernel: the kernels of the observables, at the times of a run."""

from functools import partial

import numpy as np
import pytest
import torch

from lightning_landscape import records
from lightning_landscape.callbacks import TangentKernel
from lightning_landscape.data import Digits, RandomData
from lightning_landscape.energies import (
    Copies,
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SmallConvNet,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables.wide_networks import tangent_kernels
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)


def outputs(module, x):
    return module.net(x)


def run_of(net, data, loss="squared", l2=0.0):
    energy = NetworkEnergy(net, data, loss)
    energy = WithL2(energy, l2) if l2 else energy
    return LandscapeModule(energy, partial(torch.optim.SGD, lr=0.05))


def random_data():
    return RandomData(samples=12, dimension=6)


class TestContract(ProbeContract):
    def make(self):
        return TangentKernel(last=15, samples=5, output_fn=outputs)

    def landscape(self):
        return run_of(FullyConnected([6, 9, 9, 1], "tanh", replicas=4), random_data())


def fit(module, folder, steps, **options):
    bare_trainer([TangentKernel(first=0.05, last=0.05 * steps, **options)], steps, folder).fit(
        module
    )
    return last_record(folder, "tangent_kernel")


def test_of_fully_connected_networks(tmp_path):
    """Gradient descent to first order: outputs move by -lr Theta (f - y) / P."""
    net = FullyConnected([6, 30, 30, 1], "tanh", replicas=3, dtype="float64")
    module = run_of(net, random_data())
    energy = module.energy
    x, y = energy.inputs, energy.targets
    before = net(x.unsqueeze(0)).detach()
    theta = tangent_kernels(net(x.unsqueeze(0)), list(net.parameters()))
    record = fit(module, tmp_path, 1, samples=12)
    np.testing.assert_allclose(
        record["eigenvalues"][0], np.linalg.eigvalsh(theta.view(3, 12, 12).numpy()), atol=1e-9
    )
    flat = y.flatten()
    aligned = [(flat @ k @ flat) / (k.norm() * flat @ flat) for k in theta.view(3, 12, 12)]
    np.testing.assert_allclose(record["alignment"][0], torch.stack(aligned), rtol=1e-6)
    assert (record["motion"][0] == 0).all() and (record["motion"][1] > 0).all()
    step = net(x.unsqueeze(0)).detach() - before
    expected = -0.05 / 12 * theta.view(3, 12, 12) @ (before - y)
    torch.testing.assert_close(step, expected, rtol=0.05, atol=2e-4)
    names = [r.quantity for r in rows(record)]
    assert any(name.startswith("‖ΔΘ‖ / ‖Θ‖") for name in names)
    assert len(draw(record).axes) == 2


def test_a_linear_model_has_a_kernel_that_does_not_move(tmp_path):
    record = fit(
        run_of(FullyConnected([6, 1], "linear", dtype="float64"), random_data()), tmp_path, 5
    )
    assert record["motion"].max() < 1e-14
    scaled = fit(run_of(FullyConnected([6, 1], "linear"), random_data()), tmp_path, 5, scaled=True)
    assert scaled["diagonal"][0, 0] == pytest.approx(
        1 + (record["diagonal"][0, 0].item() - 1) / 6, rel=1e-5
    )


def test_of_convolutional_networks(tmp_path):
    net = SmallConvNet([1, 8, 8], channels=[3], replicas=2, dtype="float64")
    record = fit(run_of(net, Digits(), "cross_entropy"), tmp_path, 2, samples=3)
    assert record.sizes["eigenvalue"] == 30
    x = Digits().inputs[:3].double()
    module = net.copy_of(1)  # after training: the last time
    theta = tangent_kernels(module(x).unsqueeze(0), list(module.parameters())).view(30, 30)
    np.testing.assert_allclose(
        record["eigenvalues"][-1, 1], torch.linalg.eigvalsh(theta), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("make, loss", [
    (lambda: FullyConnected([64, 5, 5, 10], "tanh", replicas=2), "squared"),
    (lambda: SmallConvNet([1, 8, 8], channels=[3], replicas=2), "cross_entropy"),
], ids=["fully connected", "convolutional"])  # fmt: skip
def test_of_copies(make, loss, tmp_path):
    """Copies start alike, and the record has their mean."""
    plain = fit(run_of(make(), Digits(), loss), tmp_path / "plain", 1, samples=3)
    module = run_of(make(), Digits(), loss)
    module.energy = Copies(module.energy, 2)
    copies = fit(module, tmp_path / "copies", 1, samples=3)
    for name in ("eigenvalues", "alignment", "diagonal"):
        assert copies[name].shape == plain[name].shape
        first, other = copies[name].isel(t=0), plain[name].isel(t=0)
        np.testing.assert_allclose(first, other, rtol=2e-4, atol=2e-3)


def test_of_a_project_of_the_user(tmp_path):
    module = Classifier()
    train(module, tmp_path, [TangentKernel(last=8, samples=4, output_fn=outputs)], max_epochs=1)
    record = records.read(next(tmp_path.rglob("tangent_kernel.nc")))
    assert record["eigenvalues"].shape[1:] == (1, 8) and "alignment" not in record
    assert record["motion"][-1] > 0


def test_what_cannot_be_measured_is_said(tmp_path, caplog):
    with pytest.raises(UsageError, match=r"^energy = Quadratic: TangentKernel measures networks"):
        fit(LandscapeModule(Quadratic([1.0])), tmp_path, 1)
    with pytest.raises(UsageError, match=r"^scaled = True: is known for FullyConnected"):
        fit(
            run_of(SmallConvNet([1, 8, 8], [3]), Digits(), "cross_entropy"),
            tmp_path,
            1,
            scaled=True,
        )
    wrong = TangentKernel(last=8, output_fn=lambda module, x: x.sum())
    train(Classifier(), tmp_path, [wrong], max_epochs=1)
    assert "must be those of 8 samples; give an output_fn" in caplog.text


def test_a_penalty_on_the_weights_changes_no_kernel(tmp_path):
    def record(l2):
        net = FullyConnected([6, 9, 1], "tanh", replicas=2)
        return fit(run_of(net, random_data(), l2=l2), tmp_path / f"{l2}", 1).isel(t=0)

    plain, other = record(0.0), record(0.1)
    for name in ("eigenvalues", "alignment"):
        np.testing.assert_array_equal(plain[name], other[name])
