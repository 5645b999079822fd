"""Weight decay is a Gaussian prior: stationary laws of samplers with it, in closed form."""

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import (
    Langevin,
    LeimkuhlerMatthews,
    MetropolisLangevin,
    Underdamped,
)
from lightning_landscape.errors import UsageError

R, T, LR, A, CENTRE = 40_000, 0.3, 0.2, 1.0, 1.5
# E = (x - c)^2 / 2 with the prior a x^2 / 2: mean c / (1 + a), curvature 1 + a
STIFFNESS = 1 + A
VARIANCE = {
    Langevin: T / (STIFFNESS * (1 - LR * STIFFNESS / 2)),
    LeimkuhlerMatthews: T / STIFFNESS,
    MetropolisLangevin: T / STIFFNESS,
    Underdamped: T / STIFFNESS,
}


@pytest.mark.parametrize("scheme", VARIANCE)
def test_mean_and_variance_of_a_well_with_a_prior_around_zero(scheme):
    decayed, free = (nn.Parameter(torch.zeros(R, 1)) for _ in range(2))
    groups = [{"params": [decayed], "weight_decay": A}, {"params": [free]}]
    dynamics = scheme(groups, lr=LR, temperature=T)

    def energies():
        for p in (decayed, free):
            p.grad = p.detach() - CENTRE
        return sum((p.detach() - CENTRE).square().sum(1) / 2 for p in (decayed, free))

    for _ in range(60):
        dynamics.step(energies)
    x, variance = decayed.detach().double(), VARIANCE[scheme]
    assert x.mean().item() == pytest.approx(CENTRE / 2, abs=4 * (variance / R) ** 0.5)
    assert x.var().item() == pytest.approx(variance, rel=4 * (2 / R) ** 0.5)
    assert free.mean().item() == pytest.approx(CENTRE, abs=4 * (2 * T / R) ** 0.5)


def test_at_temperature_zero_it_is_the_weight_decay_of_sgd_bit_for_bit():
    start = torch.randn(5, 7)
    x, y = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = Langevin([x], lr=0.1, weight_decay=0.3)
    theirs = torch.optim.SGD([y], lr=0.1, weight_decay=0.3)
    for _ in range(5):
        x.grad, y.grad = x.detach().sin(), y.detach().sin()
        ours.step()
        theirs.step()
    assert x.equal(y)


def test_gradients_of_the_user_stay_as_they_are():
    x = nn.Parameter(torch.ones(2, 3))
    x.grad = torch.ones(2, 3)
    Langevin([x], lr=0.1, weight_decay=0.3).step()
    assert x.grad.equal(torch.ones(2, 3))


@pytest.mark.parametrize("decay", [-1.0, float("nan"), "much", float("inf")])
def test_a_weight_decay_is_a_number_from_zero_on(decay):
    with pytest.raises(UsageError, match="weight_decay"):
        Langevin([nn.Parameter(torch.ones(2))], lr=0.1, weight_decay=decay)
