"""Mutual information of the outputs of a network of finite width."""

import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import (
    mutual_information,
    mutual_information_series,
    optimal_aspect_ratio,
)


def test_the_maximum_of_the_series():
    for nu, known in ((5.0, 0.0348), (2.0, 0.0870), (2 / 3, 0.2609)):
        assert optimal_aspect_ratio(nu) == pytest.approx(known, abs=5e-5)
    v, halves = 4 / 26, (1, 1)
    best = mutual_information_series(v, halves)
    assert best > mutual_information_series(1.001 * v, halves)
    assert best > mutual_information_series(0.999 * v, halves)


def test_the_exact_information_has_no_maximum():
    """Log-normal scale, one output against one."""
    v = (0.05, 0.1, 0.1538, 0.25, 0.5, 1.0)
    known = (0.000258, 0.000878, 0.001790, 0.003772, 0.009624, 0.020807)
    assert [mutual_information(x) for x in v] == pytest.approx(known, abs=6e-7)


@pytest.mark.parametrize("halves", [(1, 1), (2, 2), (1, 2), (3, 3)])
def test_the_series_of_the_exact_information(halves):
    """n1 n2 / 8 v^2 (1 - (20 + 3 n1 + 3 n2) v / 6): the two coefficients by extrapolation."""
    v, half = 2e-3, 1e-3
    over, under = (mutual_information(x, halves) / x**2 for x in (v, half))
    series = [mutual_information_series(x, halves) / x**2 for x in (v, half)]
    leading = 2 * under - over
    assert leading == pytest.approx(2 * series[1] - series[0], rel=1e-4)
    assert (leading - under) / half == pytest.approx(
        (2 * series[1] - series[0] - series[1]) / half, rel=0.03
    )


def test_misuse():
    with pytest.raises(UsageError, match="outputs"):
        mutual_information(0.1, (0, 1))
