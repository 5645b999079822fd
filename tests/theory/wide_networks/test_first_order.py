"""Statistics of one input at order 1/n against tables, closed forms and limits."""

from dataclasses import asdict

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    Layer,
    criticality,
    first_order,
    metric_law,
)

# K, V, G1, T, F, D, B, A, T1, P, Q by adaptive quadrature; rates 1, K^1 = 1 or K*
TABLE = {
    ("tanh", 2): "0.394294 0.0975237 0 2.32310 0.150102 -0.118597 1.36604 0.168638 0 -0.382742"
    " -0.232640",
    ("tanh", 5): "0.127905 0.0393984 -0.0682254 3.58272 0.306049 -0.241389 10.2506 1.84517"
    " 0.0721166 -2.69520 -1.62757",
    ("tanh", 10): "0.0580118 0.0185887 -0.107134 5.91322 0.542864 -0.437020 60.2319 14.2735"
    " 0.682529 -13.6119 -9.75163",
    ("erf", 5): "0.118926 0.0332112 -0.0629924 3.73646 0.298651 -0.227268 11.5430 1.97693"
    " 0.013784 -3.10483 -1.76372",
    ("sin", 10): "0.0921811 0.0500901 -0.193358 6.77466 1.09587 -0.777801 88.6455 16.9614"
    " -0.413346 -19.8552 -13.0841",
    ("gelu", 2): "3.56155 62.2084 0 5.41758 19.4097 41.6006 15.1114 33.9109 0 0.184701 9.97247",
    ("gelu", 10): "3.56155 559.876 -0.321652 27.0879 873.437 2249.50 4306.75 11633.2 -41.3043"
    " 52.6397 2094.56",
    ("swish", 2): "14.3202 1009.59 0 15.8481 227.749 626.513 128.338 440.389 0 1.17331 115.735",
    ("swish", 5): "14.3202 4038.34 0.0172626 39.6202 2277.49 6542.41 3850.14 13066.3 -5.65522"
    " 35.1992 2435.90",
}


@pytest.mark.parametrize(("name", "l"), TABLE)
def test_the_table(name, l):
    start = criticality(name).K or 1.0
    result = first_order(Layer.critical(name), start, depth=l)
    found = [values[-1] for letter, values in asdict(result).items() if letter != "T3"]
    known = [float(number) for number in TABLE[name, l].split()]
    # the numbers have 5 or 6 digits; G1 of swish is what is left of a fixed point
    assert found == pytest.approx(known, rel=1e-5, abs=1e-6)


def test_closed_forms_of_relu_and_linear():
    l = np.arange(1.0, 21)
    relu = asdict(first_order(Layer.critical("relu"), 1.0, 20))
    zero = np.zeros(20)
    known = {
        "V": 5 * (l - 1),
        "T": 3 * l / 2,
        "F": 3 * l * (l - 1) / 2,
        "D": 2 * l * (l - 1),
        "B": 3 * (l - 1) * l * (2 * l - 1) / 4,
        "A": (l - 1) * l * (17 * l - 4) / 12,
        "Q": (l - 1) * l * (l + 1) / 4,
        **{"P": zero, "G1": zero, "T1": zero},
    }
    for name, values in known.items():
        np.testing.assert_allclose(relu[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
    linear = asdict(first_order(Layer.critical("linear"), 1.0, 20))
    B = 2 * (l - 1) * l * (2 * l - 1) / 3
    known |= {"V": 2 * (l - 1), "T": 2 * l, "F": l * (l - 1), "D": l * (l - 1)}
    known |= {"B": B, "A": B / 2, "Q": (l - 1) * l * (l + 1) / 3}
    for name, values in known.items():
        np.testing.assert_allclose(linear[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_depth_limit_of_tanh():
    """At l = 200; the limits are 1/2, 2/3, -1/3, 1/4, 1/3, -1/12 and -1/24."""
    l = 200
    x = first_order(Layer.critical("tanh"), 1.0, l, bias_rate=1 / np.arange(1.0, l + 1))
    K, T = x.K[-1], x.T[-1]
    found = [K * l, x.V[-1] / (K**2 * l), x.G1[-1] / (K * l), x.F[-1] / (T * K * l)]
    found += [x.B[-1] / (T**2 * l), x.P[-1] / (T**2 * l), x.Q[-1] / (T**2 * l)]
    known = [0.50671, 0.65635, -0.32080, 0.24517, 0.32781, -0.08276, -0.04057]
    assert found == pytest.approx(known, abs=6e-6)


def test_unequal_widths_against_the_exact_law():
    """n Var G -> V for widths in fixed proportion, whose correction falls as 1/n."""
    layer, widths = Layer.critical("tanh"), (1, 3, 2)
    x = first_order(layer, 1.0, 4, widths)

    def gap(n):
        law = metric_law(layer, 1.0, [n * k for k in widths], 4)
        return 2 * n * law.variance[-1] - x.V[-1], 2 * n * (law.mean[-1] - x.K[-1]) - x.G1[-1]

    near, nearer = np.array(gap(100)), np.array(gap(200))
    scale = np.abs([x.V[-1], x.G1[-1]])
    assert (np.abs(2 * nearer - near) < 1e-3 * scale).all()
    assert x.V[-1] != pytest.approx(first_order(layer, 1.0, 4).V[-1], rel=0.015)


class TestSkip:
    """Without weights on the skip, neurons remember their sign: see `first_order`."""

    def test_relu(self):
        result = first_order(Layer.critical("relu", skip=0.5**0.5), 1.0, 11)
        found = [result.V[l - 1] / (l - 1) for l in (3, 6, 11)]
        assert found == pytest.approx([2.739, 3.678, 4.408], abs=6e-4)
        strong = first_order(Layer.critical("relu", skip=0.9), 1.0, 6)
        assert strong.V[-1] / 5 == pytest.approx(1.131, abs=6e-4)

    @pytest.mark.parametrize(("square", "depth"), [(0.25, 25), (0.5, 50), (0.8, 160)])
    def test_limits(self, square, depth):
        """V per layer of ReLU: an even part, and the memory of z |z| over m layers; linear.

        <z|z| z'|z'|> = (2/pi) (3 r sqrt(1 - r^2) + (1 + 2 r^2) arcsin r) at correlation r = g^m.
        """
        gamma = square**0.5
        even = (1 - square) * (5 * (1 - square) + 4 * square)
        r = gamma ** np.arange(1, 400)
        memory = 3 * r * np.sqrt(1 - r**2) + (1 + 2 * r**2) * np.arcsin(r)
        odd = 2 * (1 - square) ** 2 * 2 / np.pi * memory.sum()
        V = first_order(Layer.critical("relu", gamma), 1.0, depth).V
        assert V[-1] - V[-2] == pytest.approx(even + odd, rel=1e-7)
        first = 16 / np.pi * (1 - square) ** 2 * gamma / (1 - gamma)  # of the order a = 1 alone
        assert first < odd < 1.2 * first
        linear = first_order(Layer.critical("linear", gamma), 3.0, 5).V
        np.testing.assert_allclose(linear, 9 * 2 * (1 - square**2) * np.arange(5), rtol=1e-9)

    def test_odd_activations_keep_an_even_law(self):
        """nu -> (2/3) (1 - gamma^4), the rate of V / K^2 per layer."""
        result = first_order(Layer.critical("tanh", skip=0.5**0.5), 1.0, 200)
        np.testing.assert_allclose(result.T3, 0, atol=1e-15)
        ratio = result.V / result.K**2
        assert (ratio[-1] - ratio[-51]) / 50 == pytest.approx(2 / 3 * (1 - 0.25), rel=0.012)


def test_misuse():
    layer = Layer.critical("tanh")
    with pytest.raises(UsageError, match=r"widths = .* must be the 3 widths"):
        first_order(layer, 1.0, 4, widths=(8, 8))
    with pytest.raises(UsageError, match="bias_rate"):
        first_order(layer, 1.0, 4, bias_rate=np.ones(3))
    with pytest.raises(UsageError, match="must be equal with a skip"):
        first_order(Layer.critical("tanh", skip=0.5), 1.0, 4, widths=(8, 8, 9))
