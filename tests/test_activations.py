"""The table of activations: derivatives, Gaussian averages, criticality."""

import copy
import math
import pickle

import pytest
import torch

from lightning_landscape.activations import ACTIVATIONS, Moments
from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import criticality

every_activation = pytest.mark.parametrize("name", ACTIVATIONS)
Z = torch.linspace(-4, 4, 80, dtype=torch.float64)  # without 0


@every_activation
def test_derivatives_are_those_of_autograd(name):
    sigma, z = ACTIVATIONS[name], Z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(sigma.value(z).sum(), z, create_graph=True)
    torch.testing.assert_close(sigma.slope(Z), slope.detach(), rtol=1e-13, atol=1e-14)
    curvature = torch.zeros_like(Z)
    if slope.requires_grad:
        (curvature,) = torch.autograd.grad(slope.sum(), z)
    if sigma.curvature is None:
        assert not curvature.any()
    else:
        torch.testing.assert_close(sigma.curvature(Z), curvature, rtol=1e-12, atol=1e-14)


@every_activation
def test_in_place_they_are_the_same(name):
    sigma, left = ACTIVATIONS[name], Z.clone()
    torch.testing.assert_close(sigma.value_(left), sigma.value(Z))
    torch.testing.assert_close(sigma.pull_(2 * torch.ones_like(Z), left), 2 * sigma.slope(Z))


@pytest.mark.parametrize("K", [0.1, 1.0, 7.0])
def test_gaussian_averages_known_in_closed_form(K):
    """Williams 1998 for erf: <erf^2> = (2/pi) asin(2K/(1+2K)); half of the linear ones for relu."""
    assert ACTIVATIONS["linear"].moments(K) == pytest.approx(Moments(K, 1.0, 1.0), rel=1e-12)
    assert ACTIVATIONS["relu"].moments(K) == pytest.approx(Moments(K / 2, 0.5, 0.5), rel=1e-12)
    erf = ACTIVATIONS["erf"].moments(K)
    assert erf.square == pytest.approx(2 / math.pi * math.asin(2 * K / (1 + 2 * K)), rel=1e-11)
    assert erf.perpendicular == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * K), rel=1e-11)
    # by Stein's lemma the derivative of <erf^2> in K
    assert erf.parallel == pytest.approx(
        4 / math.pi / ((1 + 2 * K) * math.sqrt(1 + 4 * K)), rel=1e-11
    )
    assert ACTIVATIONS["relu"].mean(torch.ones_like, K) == pytest.approx(1, rel=1e-13)


@pytest.mark.parametrize(
    ("name", "K"),
    [
        *(("relu", 1.7), ("linear", 1.7), ("leaky_relu", 1.7)),
        *(("tanh", 1e-7), ("erf", 1e-7), ("sin", 1e-7)),
        *(("gelu", (3 + 17**0.5) / 2), ("swish", 14.320173618), ("hard_swish", 4.803855949)),
        ("mish", 1.670169132),
    ],
)
def test_the_table_is_critical(name, K):
    """Both susceptibilities are 1 at the fixed point; near K* = 0 up to a number of order K."""
    sigma = ACTIVATIONS[name]
    moments, C_W = sigma.moments(K), sigma.weight_variance
    tolerance = max(1e-9, 4 * K if K < 1e-3 else 0)
    assert C_W * moments.parallel == pytest.approx(1, abs=tolerance)
    assert C_W * moments.perpendicular == pytest.approx(1, abs=tolerance)
    assert (sigma.bias_variance + C_W * moments.square) / K == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("name", ["elu", "selu", "softsign"])
def test_with_a_kink_at_0_the_approach_to_criticality_is_slower(name):
    """1 - chi goes as sqrt(K) where sigma' or sigma'' jumps at 0, instead of as K."""
    sigma = ACTIVATIONS[name]
    far, near = (1 - sigma.weight_variance * sigma.moments(K).perpendicular for K in (1e-6, 1e-8))
    assert far / near == pytest.approx(10, rel=0.02)


def test_two_activations_have_no_critical_point():
    assert [name for name, sigma in ACTIVATIONS.items() if not sigma.critical] == [
        "softplus",
        "sigmoid",
    ]


@every_activation
def test_it_is_pickled_as_the_entry_of_the_table(name):
    sigma = ACTIVATIONS[name]
    assert pickle.loads(pickle.dumps(sigma)) is sigma
    assert copy.deepcopy(sigma) is sigma


def test_an_average_needs_a_variance():
    with pytest.raises(UsageError, match="K = 0"):
        ACTIVATIONS["tanh"].moments(0.0)


def test_the_decay_of_the_kernel_is_that_of_the_theory():
    for name, sigma in ACTIVATIONS.items():
        if sigma.critical:
            assert sigma.decay == pytest.approx(criticality(name).p_perpendicular, abs=1e-6)
