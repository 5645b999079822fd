"""The conversions, against the formulas and against the packages where they are installed."""

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews
from lightning_landscape.dynamics.samplers import conventions
from lightning_landscape.errors import UsageError

WALKERS, CURVATURE = 40_000, 2.0


def moments(step, x, steps=40):
    """The mean and the variance over walkers after some steps from x = 1 in a harmonic well."""
    for _ in range(steps):
        x.grad = CURVATURE * x.detach()
        step()
    return x.mean().item(), x.var().item()


def assert_same_law(step, x, **ours):
    """Transient mean and variance agree with ours: the drift fixes lr, the noise then T."""
    y = nn.Parameter(torch.ones(WALKERS, 1))
    mean, variance = moments(Langevin([y], **ours).step, y)
    theirs = moments(step, x)
    error = (2 * variance / WALKERS) ** 0.5
    assert abs(theirs[0] - mean) < 4 * error
    assert abs(theirs[1] / variance - 1) < 4 * 2 / WALKERS**0.5
    assert mean > 20 * error  # the walkers have not forgotten where they began


@pytest.fixture
def x():
    return nn.Parameter(torch.ones(WALKERS, 1))


def test_against_torch_sgld(x):
    torch_sgld = pytest.importorskip("torch_sgld", reason="torch-sgld is not installed")
    theirs = torch_sgld.SGLD([x], lr=0.01, temperature=0.3)
    assert_same_law(theirs.step, x, lr=0.01, temperature=0.3)


def test_against_devinterp(x):
    optim = pytest.importorskip("devinterp.optim", reason="devinterp is not installed")
    theirs = optim.SGMCMC.sgld([x], **conventions.to_devinterp(lr=0.01, temperature=0.3))
    assert_same_law(theirs.step, x, lr=0.01, temperature=0.3)


def test_from_devinterp(x):
    optim = pytest.importorskip("devinterp.optim", reason="devinterp is not installed")
    theirs = optim.SGMCMC.sgld([x], lr=0.006, nbeta=10 / 3)
    assert_same_law(theirs.step, x, **conventions.from_devinterp(lr=0.006, nbeta=10 / 3))


def test_against_posteriors():
    posteriors = pytest.importorskip("posteriors", reason="posteriors is not installed")

    def log_posterior(params, batch):
        return -CURVATURE / 2 * params["x"].square().sum(), torch.tensor(0.0)

    sampler = posteriors.sgmcmc.sgld.build(log_posterior, lr=0.01, temperature=0.3)
    x = nn.Parameter(torch.ones(WALKERS, 1))
    state = sampler.init({"x": x.detach().clone()})

    def step():
        nonlocal state
        state, _ = sampler.update(state, None)
        x.data = state.params["x"]

    assert_same_law(step, x, lr=0.01, temperature=0.3)


def test_against_welling_and_teh(x):
    """Their equation 4, written out, for a mean energy over 5 data."""
    epsilon, data = 0.004, 5
    generator = torch.Generator().manual_seed(1)

    def step():
        minus_gradient_of_log_posterior = data * x.grad
        noise = torch.randn(x.shape, generator=generator)
        x.data += -epsilon / 2 * minus_gradient_of_log_posterior + epsilon**0.5 * noise

    assert_same_law(step, x, **conventions.from_welling_teh(epsilon, data))


def test_against_a_noise_factor(x):
    generator = torch.Generator().manual_seed(1)

    def step():
        noise = torch.randn(x.shape, generator=generator)
        x.data += -0.01 * x.grad + 0.5 * 0.02**0.5 * noise

    assert_same_law(step, x, **conventions.from_noise_factor(lr=0.01, noise_factor=0.5))


@pytest.mark.parametrize(("lr", "temperature"), [(0.1, 0.1), (2.0, 0.003)])
def test_there_and_back_again(lr, temperature):
    ours = {"lr": pytest.approx(lr), "temperature": pytest.approx(temperature)}
    assert conventions.from_devinterp(**conventions.to_devinterp(lr, temperature)) == ours
    epsilon = conventions.to_welling_teh(lr, temperature)["epsilon"]
    assert epsilon / (2 * temperature) == ours["lr"]


def test_a_noise_level_scales_the_temperature():
    assert conventions.from_devinterp(0.02, 10, noise_level=2) == {"lr": 0.1, "temperature": 0.4}


def test_what_has_no_counterpart_is_refused():
    for call in (
        lambda: conventions.to_devinterp(0.1, 0.0),
        lambda: conventions.to_welling_teh(0.1, 0.0),
        lambda: conventions.from_devinterp(0.1, 0.0),
        lambda: conventions.from_welling_teh(0.1, 0),
        lambda: conventions.from_noise_factor(0.1, -1.0),
    ):
        with pytest.raises(UsageError):
            call()


def test_peers_of_first_order_are_hotter_than_they_say(x):
    """T / (1 - lr k / 2) is 1.25 T at lr k = 0.4 for torch-sgld, and T for our second order."""
    torch_sgld = pytest.importorskip("torch_sgld", reason="torch-sgld is not installed")
    y = nn.Parameter(torch.ones(WALKERS, 1))
    _, theirs = moments(torch_sgld.SGLD([x], lr=0.2, temperature=0.3).step, x)
    _, ours = moments(LeimkuhlerMatthews([y], lr=0.2, temperature=0.3).step, y)
    error = 4 * (2 / WALKERS) ** 0.5
    assert theirs * CURVATURE / 0.3 == pytest.approx(1 / 0.8, rel=error)
    assert ours * CURVATURE / 0.3 == pytest.approx(1.0, rel=error)
