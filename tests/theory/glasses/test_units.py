import math

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.glasses import pspin
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.units import DYNAMITE, Units, kim_latz, pele

PURE = {3: 0.5}


def test_dynamite_transition_and_threshold():
    """With f = q^3 its T_d is 0.866 and its threshold -1.633; ours 0.612372 and -1.154701."""
    theirs = {3: 1.0}
    T_d = pspin.dynamical_transition(theirs).temperature
    assert T_d == pytest.approx(math.sqrt(3) / 2)
    assert DYNAMITE.energy(T_d) == pytest.approx(pspin.dynamical_transition(PURE).temperature)
    assert DYNAMITE.energy(-1.632993) == pytest.approx(pspin.threshold_energy(PURE), abs=1e-6)
    assert DYNAMITE.mixture(theirs) == PURE


@pytest.mark.parametrize("units", [DYNAMITE, kim_latz(0.3), pele(3), Units(0.25)])
def test_a_run_in_other_units_is_the_same_run(units):
    """Energy, temperature, multiplier, time, response: everything that has a unit."""
    k = units.covariance
    theirs = solve({3: 0.5 * k}, 0.3 * math.sqrt(k), 5 / math.sqrt(k))
    ours = solve(units.mixture({3: 0.5 * k}), 0.3, 5.0)
    t, tw = 4 / math.sqrt(k), 1 / math.sqrt(k)
    assert units.time(t) == pytest.approx(4.0)
    assert units.energy(theirs.energy(t)) == pytest.approx(ours.energy(4.0), abs=5e-5)
    assert units.energy(theirs.multiplier(t)) == pytest.approx(ours.multiplier(4.0), abs=2e-4)
    assert theirs.correlation(t, tw) == pytest.approx(ours.correlation(4.0, 1.0), abs=5e-5)
    assert theirs.response(t, tw) == pytest.approx(ours.response(4.0, 1.0), abs=2e-4)
    chi = units.time(theirs.integrated_response(t, tw))
    assert chi == pytest.approx(ours.integrated_response(4.0, 1.0), abs=2e-4)


def test_pele_with_couplings_of_variance_one_and_of_variance_p_factorial():
    assert pele(3).energy(1.0) == pytest.approx(math.sqrt(3))
    assert pele(3, coupling_variance=6.0).energy(-1.632993) == pytest.approx(-1.154701, abs=1e-6)


def test_pele_scales_two_spins_by_no_power_of_the_size():
    """The covariance of -sum_{i<j} J_ij s_i s_j on the sphere: N^2 q^2 / 2 up to order N."""
    N, samples = 40, 4000
    rng = np.random.default_rng(0)
    J = np.triu(rng.standard_normal((samples, N, N)), 1)
    s = rng.standard_normal(N)
    s *= math.sqrt(N) / np.linalg.norm(s)
    variance = np.einsum("kij,i,j->k", J, s, s).var()
    ours = N * 0.5
    # 4 standard errors, and the diagonal, of order 1/N, that pele leaves out
    assert variance / ours == pytest.approx(pele(2, N=N).covariance, rel=4 * 0.022 + 3 / N)
    assert pele(2, coupling_variance=1 / N, N=N).covariance == 1.0
    with pytest.raises(UsageError, match="N = None"):
        pele(2)
