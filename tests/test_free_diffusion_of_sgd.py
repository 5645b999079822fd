"""A network in the noise of SGD: free diffusion where it fits its data, a plateau where it cannot.

One hidden ReLU layer on 300 random labels in d = 20, B = 16, lr = 0.1, cross-entropy, 6 seeds
(the toy network of Baity-Jesi et al., arXiv:1803.06969). For uncorrelated steps on a flat
landscape Delta(tw, tw + t) = lr^2 D(tw) t, with t in steps and D the variance of the mini-batch
gradient. Both are measured by the probes, in one run.
"""

import pytest
import torch

from lightning_landscape.callbacks import AgingCorrelation, EnergyRelaxation, GradientNoise
from lightning_landscape.callbacks.times import Times
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer

LR, LAGS = 0.1, (3, 10, 30, 100, 300)


def ratios(hidden, waiting_steps, folder):
    """Delta / (lr^2 D t), (tw, t), and the loss at each tw, means over the seeds."""
    net = FullyConnected([20, hidden, 2], replicas=6, seed=3)
    energy = NetworkEnergy(net, RandomData(300, 20, seed=1))
    batches = Batches(16, seed=2, replacement=True)
    module = LandscapeModule(energy, lambda p: torch.optim.SGD(p, lr=LR), batches)
    times = [LR * steps for steps in waiting_steps]
    aging = AgingCorrelation(times, first=LR * LAGS[0], last=LR * LAGS[-1], per_decade=2)
    aging.lags = Times.at([LR * lag for lag in LAGS])
    noise, loss = (
        make(first=times[0], last=times[-1]) for make in (GradientNoise, EnergyRelaxation)
    )
    for probe in (noise, loss):
        probe.times = Times.at(times)
    bare_trainer([aging, noise, loss], waiting_steps[-1] + LAGS[-1], folder).fit(module)
    D, t = noise.results["D"][:, None], torch.tensor(LAGS, dtype=torch.float64)[:, None]
    return (aging.results["MSD"] / (LR**2 * D * t)).mean(-1), loss.results["energy"].mean(-1)


@pytest.mark.slow
def test_over_parametrised_diffuses_and_under_parametrised_is_caged(tmp_path):
    """At tw = 3000: uncorrelated steps at short t on the one side, a plateau on the other."""
    (over,), loss = ratios(200, [3000], tmp_path)
    assert loss.item() < 0.02  # every pattern fitted
    assert over[:3].tolist() == pytest.approx([0.95, 0.95, 1.0], abs=0.3)
    (under,), loss = ratios(4, [3000], tmp_path)
    assert loss.item() > 0.25
    assert under[-1] < 0.21 * 1.6
    assert (under.diff() < 0).all()  # slower than diffusion, ever more so
    assert over[-1] / under[-1] > 8


@pytest.mark.slow
def test_the_published_protocol(tmp_path):
    """tw = 10^4: 0.93, 0.94, 1.03, 1.37 at t = 3, 10, 30, 100; under-parametrised: it ages."""
    over, loss = ratios(200, [100, 1000, 10_000], tmp_path)
    assert over[-1, :4].tolist() == pytest.approx([0.93, 0.94, 1.03, 1.37], abs=0.3)
    assert loss[-1].item() == pytest.approx(0.0012, rel=0.3)
    under, loss = ratios(4, [1000, 3000, 10_000], tmp_path)
    for ratio, expected in zip(under[:, -1], (0.45, 0.21, 0.086), strict=True):
        assert expected / 1.6 < ratio < expected * 1.6
    assert (under[:, -1].diff() < 0).all()
    assert over[-1, -1] / under[-1, -1] > 8
    assert loss[-1].item() > 0.2
