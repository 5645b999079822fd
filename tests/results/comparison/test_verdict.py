"""The verdict on pairs of runs whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from lightning_landscape.errors import UsageError
from lightning_landscape.results.comparison.verdict import (
    LEVEL,
    Estimate,
    adjusted,
    compare,
    verdicts,
)


def estimate(values, quantity="x", **options):
    """The mean of independent replicas, with its standard error."""
    R = len(values)
    return Estimate(quantity, values.mean(0), values.std(0, ddof=1) / R**0.5, R - 1, **options)


def outcome(first, second, **options):
    (((verdict,),)) = verdicts([([first], [second])], **options)
    return verdict.outcome


def test_it_is_the_test_of_welch():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 5), rng.normal(1, 3, 9)
    t, dof, p = compare(estimate(a), estimate(b))
    known = stats.ttest_ind(a, b, equal_var=False)
    assert (t, dof, p) == pytest.approx((known.statistic, known.df, known.pvalue))


def test_equal_different_and_too_noisy_pairs_are_told():
    precise, other, noisy = (Estimate("x", v, e, dof=7) for v, e in ((1, 0.01), (2, 0.01), (1, 1)))
    assert outcome(precise, precise) == "agree"
    assert outcome(precise, other) == "differ"
    assert outcome(precise, noisy) == outcome(noisy, other) == "cannot be told apart"


def test_the_margin_is_in_units_of_the_scale():
    first, second = (Estimate("x", value, 0.5, dof=50, scale=10.0) for value in (100, 100.5))
    assert outcome(first, second, margin=0.2) == "agree"  # 0.5 + 1.66 * 0.71 = 1.7 < 2
    assert outcome(first, second, margin=0.15) == "cannot be told apart"
    with pytest.raises(UsageError, match="margin"):
        verdicts([], margin=0.0)


def test_a_table_of_equal_runs_calls_something_different_as_often_as_it_should():
    """Six correlated quantities of 4 and 8 replicas whose scatter differs.

    Holm's method keeps the rate at most at the level; of one quantity it is the level. Welch's
    test of so few replicas is within a tenth of it.
    """
    rng, tables = np.random.default_rng(7), 1500

    def run(R, scatter):
        shared = rng.normal(size=(R, 1))
        values = scatter * (0.8 * shared + 0.6 * rng.normal(size=(R, 6)))
        return [estimate(values[:, k], str(k)) for k in range(6)]

    pairs = [(run(4, 1.0), run(8, 2.0)) for _ in range(tables)]
    found = [verdicts([pair])[0] for pair in pairs]
    single = np.mean([table[0].p_value < LEVEL for table in found])
    family = np.mean([any(v.outcome == "differ" for v in table) for table in found])
    sigma = (LEVEL * (1 - LEVEL) / tables) ** 0.5
    assert single == pytest.approx(LEVEL, abs=4 * sigma + 0.005)
    assert 0.01 < family < LEVEL + 4 * sigma
    assert np.mean([all(v.p_value < LEVEL for v in table) for table in found]) > 1e-3  # correlated


def test_different_runs_that_agree_are_as_rare_as_the_level():
    """At a difference of exactly the margin, equivalence is claimed once in twenty."""
    rng, pairs = np.random.default_rng(3), 1500
    found = [
        outcome(estimate(rng.normal(0.0, 0.2, 12)), estimate(rng.normal(0.2, 0.2, 12)), margin=0.2)
        for _ in range(pairs)
    ]
    rate = np.mean([each == "agree" for each in found])
    assert rate < LEVEL + 4 * (LEVEL * (1 - LEVEL) / pairs) ** 0.5


def test_of_several_components_the_one_that_differs_counts_with_their_number():
    values, errors = np.array([0.0, 3.0, 0.1]), np.ones(3)
    first = Estimate("density", values, errors, dof=9)
    second = Estimate("density", np.zeros(3), 0 * errors, dof=9)
    t, dof, p = compare(first, second)
    assert (t, dof) == pytest.approx((3.0, 9.0))
    assert p == pytest.approx(3 * 2 * stats.t.sf(3.0, 9))


def test_holm_is_that_of_the_textbook_and_leaves_out_what_is_not_known():
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    with_nan = adjusted([np.nan, 0.02, 0.9])
    assert np.isnan(with_nan[0]) and with_nan[1:] == pytest.approx([0.04, 0.9])


def test_one_replica_can_say_nothing_and_no_scatter_says_all():
    alone = Estimate("x", 1.0, np.nan, dof=0)
    assert outcome(alone, alone) == "cannot be told apart"
    exact, same, other = (Estimate("x", value, 0.0, dof=3) for value in (1.0, 1.0, 2.0))
    assert outcome(exact, same) == "agree"
    assert outcome(exact, other) == "differ"


def test_other_units_and_laws_that_do_not_hold_are_not_compared():
    glass, network = (Estimate("E", 1.0, 0.1, 3, system=name) for name in ("glass", "network"))
    ((verdict,),) = verdicts([([glass], [network])])
    assert (verdict.outcome, verdict.why) == ("not compared", "other units")
    flawed = Estimate("E", 1.0, 0.1, 3, system="glass", flaw="no collapse")
    ((verdict,),) = verdicts([([flawed], [glass])])
    assert (verdict.outcome, verdict.why) == ("not compared", "no collapse in the first")
    assert verdicts([([glass], [Estimate("other", 1.0, 0.1, 3)])]) == [[]]
