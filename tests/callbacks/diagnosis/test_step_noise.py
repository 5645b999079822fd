"""StepNoise on a linear regression whose gradients have a known covariance."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_landscape import records
from lightning_landscape.callbacks.diagnosis.step_noise import StepNoise
from lightning_landscape.testing.probe import bare_trainer

D, B, SIGMA, OFF = 8, 16, 0.5, 0.5


class Regression(pl.LightningModule):
    r"""y = w* . x + noise with normal x, at w = w* + d: the mean gradient is d.

    A sample has the gradient x (x . d + noise), of trace of covariance (D + 1) |d|^2 + D sigma^2.
    """

    def __init__(self, rate=0.0):
        super().__init__()
        self.w = torch.nn.Parameter(torch.full((D,), OFF))
        self.rate = rate

    def training_step(self, batch, batch_idx):
        x, noise = batch
        return (x @ self.w + noise).square().mean() / 2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def batches(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, B, D, generator=generator)
    return list(zip(x, SIGMA * torch.randn(count, B, generator=generator), strict=True))


def train(folder, callbacks, m, steps, rate=0.0, seed=0, **trainer):
    module = Regression(rate)
    loader = DataLoader(batches(m * steps, seed), batch_size=None)
    trainer |= {"accumulate_grad_batches": m}
    bare_trainer(callbacks, steps, folder, **trainer).fit(module, loader)
    return module


def every_step(steps):
    probe = StepNoise(first=1, last=steps)
    probe.events = lambda time_step: list(range(1, steps + 1))
    return probe


def test_the_covariance_of_a_regression_is_found(tmp_path):
    """Over 40 steps of 5 batches, at 4 standard errors, which are below 8 %."""
    probe = every_step(40)
    train(tmp_path, [probe], m=5, steps=40)
    dataset, size = probe.dataset(), D * OFF**2
    trace = (D + 1) * size + D * SIGMA**2
    total = 5 * B * D * dataset["D"].to_numpy()[:, 0]  # D is that of the mean of 5 B samples
    signal = D * dataset["gradient_square"].to_numpy()[:, 0]
    for found, exact in ((total, trace), (signal, size)):
        error = found.std() / len(found) ** 0.5
        assert error < 0.08 * exact
        assert abs(found.mean() - exact) < 4 * error
    assert probe.attributes["batch_size"] == 5 * B


def test_one_step_is_that_of_its_batches_and_the_run_is_the_same(tmp_path):
    """Against the gradients of the batches themselves, and a run without the probe."""
    probe, m = every_step(3), 4
    seen = train(tmp_path / "seen", [probe], m, steps=3, rate=0.1)
    plain = train(tmp_path / "plain", [], m, steps=3, rate=0.1)
    assert torch.equal(seen.w, plain.w)
    module = Regression()
    g = torch.stack(
        [
            torch.autograd.grad(module.training_step(one, 0), module.w)[0]
            for one in batches(3 * m)[:m]
        ]
    ).double()
    total = B * g.var(0).sum()
    signal = g.mean(0).square().sum() - total / (m * B)
    row = probe.dataset().isel(t=0, replica=0)
    assert float(row["gradient_square"]) == pytest.approx(float(signal / D), rel=1e-5)
    expected = float(total / signal) if signal > 0 else float("nan")
    assert float(row["noise_scale"]) == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_two_ranks_are_two_batches_of_a_step(tmp_path):
    """|g|^2 and the spread are those of the gradients before the ranks average them."""
    settings = {"strategy": "ddp_fork", "devices": 2, "logger": False}
    loader = DataLoader(batches(4), batch_size=None, shuffle=False)
    bare_trainer([every_step(2)], 2, tmp_path, **settings).fit(Regression(), loader)
    (path,) = tmp_path.rglob("step_noise.nc")
    at = records.read(path).isel(t=0, replica=0)
    module = Regression()
    g = torch.stack(
        [torch.autograd.grad(module.training_step(one, 0), module.w)[0] for one in batches(4)[:2]]
    ).double()
    total = B * g.var(0).sum()
    signal = g.mean(0).square().sum() - total / (2 * B)
    assert float(at["gradient_square"]) == pytest.approx(float(signal / D), rel=1e-5)
    expected = float(total / signal) if signal > 0 else float("nan")
    assert float(at["noise_scale"]) == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_one_batch_a_step_has_no_spread(tmp_path, caplog):
    train(tmp_path, [StepNoise()], m=1, steps=2)
    assert "batches in a step = 1: must be at least 2" in caplog.text
