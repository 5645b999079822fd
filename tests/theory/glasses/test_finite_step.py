"""The exact dynamics in discrete time: a run of large N, its limit, and the shifts made of it."""

from functools import partial

import numpy as np
import pytest
import torch

from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews, constrain
from lightning_landscape.energies import SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.finite_size import shifts_of
from lightning_landscape.theory.glasses.finite_step import solve_discrete

P3, T = {3: 0.5}, 0.3


@pytest.mark.parametrize("dynamics", [Langevin, LeimkuhlerMatthews])
def test_it_is_a_run_of_many_spins_at_a_step_of_a_third(dynamics):
    """N = 200, 6 steps; the other scheme has correlations that differ by more than 0.05.

    What is left are 1/N and the scatter of 256 replicas of one sample, 1/sqrt(256 N) each.
    """
    dt, steps, N, R = 1 / 3, 6, 200, 256
    energy = SphericalPSpin(N, replicas=R, seed=1)
    moved = constrain(dynamics(energy.parameters(), lr=dt, temperature=T), energy.constraint)
    path, energies = [energy.configuration().clone()], []
    for _ in range(steps):
        moved.zero_grad()
        values = energy()
        values.sum().backward()
        energies.append(values.mean().item() / N)
        moved.step()
        path.append(energy.configuration().clone())
    found = solve_discrete(P3, T, dt, steps, dynamics.__name__)
    x = torch.stack(path).double()
    C = torch.einsum("irn,jrn->ij", x, x) / (R * N)
    assert C.numpy() == pytest.approx(found.correlation, abs=0.012)
    assert energies == pytest.approx(found.energy[:-1], abs=0.02)
    other = "Langevin" if dynamics is LeimkuhlerMatthews else "LeimkuhlerMatthews"
    assert np.abs(C.numpy() - solve_discrete(P3, T, dt, steps, other).correlation).max() > 0.05


@pytest.mark.parametrize("scheme", ["Langevin", "LeimkuhlerMatthews"])
def test_it_becomes_continuous_in_time_to_first_order(scheme):
    """The difference halves with the step; twice the finer less the coarser one is exact."""
    exact = solve(P3, T, 4.0, tolerance=1e-5)
    coarse, fine = (solve_discrete(P3, T, dt, round(4 / dt), scheme) for dt in (0.08, 0.04))
    for t, tw in ((4.0, 0.0), (4.0, 2.0), (2.4, 0.8)):
        i, j = round(t / 0.08), round(tw / 0.08)
        pairs = [
            (coarse.energy[i], fine.energy[2 * i], exact.energy(t)),
            (coarse.correlation[i, j], fine.correlation[2 * i, 2 * j], exact.correlation(t, tw)),
            (
                coarse.integrated_response[i, j],
                fine.integrated_response[2 * i, 2 * j],
                exact.integrated_response(t, tw),
            ),
        ]
        for one, two, limit in pairs:
            assert 2 * two - one == pytest.approx(limit, abs=1.5e-3)
            assert abs(two - limit) < 0.6 * abs(one - limit) + 1e-5


def test_the_first_step_is_known_in_closed_form():
    """C(1, 0) = 1/rho with rho^2 = 1 + dt^2 f'(1) + 2 dt T, and E(1) = -f'(C) dt / rho."""
    found = solve_discrete(P3, T, 0.2, 1)
    rho = (1 + 0.04 * 1.5 + 0.4 * T) ** 0.5
    assert found.correlation[1, 0] == pytest.approx(1 / rho)
    assert found.energy[1] == pytest.approx(-1.5 / rho**2 * 0.2 / rho)
    assert found.integrated_response[1, 0] == pytest.approx(0.2 / rho)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"time_step": 0.0}, {"steps": 5000}, {"scheme": "Heun"}]
)
def test_what_cannot_be_solved_is_refused(wrong):
    options = {"temperature": T, "time_step": 0.1, "steps": 10} | wrong
    with pytest.raises(UsageError, match=next(iter(wrong))):
        solve_discrete(P3, **options)


def test_the_table_of_shifts_has_the_measured_and_the_exact_parts():
    """E(40) of N = 256 at dt = 0.04 was measured 0.0127(15) above the exact one at that step."""
    known = partial(shifts_of, P3, T)
    size, _ = known(256, 1e-9, "Langevin").at("E", 40.0)
    assert size == pytest.approx(0.0127, abs=0.004)
    for scheme in ("Langevin", "LeimkuhlerMatthews"):
        step = known(256, 0.04, scheme).at("E", 4.0)[0] - known(256, 1e-9, scheme).at("E", 4.0)[0]
        found = solve_discrete(P3, T, 0.04, 100, scheme).energy[100]
        assert step == pytest.approx(found - solve(P3, T, 4.1).energy(4.0), abs=2e-4)
    value, error = known(128, 0.02, "Langevin").at("chi", np.array([0.5, 5.0]), 2.05)
    assert np.isfinite(value).all() and (error > 0).all()
    assert np.isnan(known(128, 0.02, "Langevin").at("C", 1.0, 4.0)[0])
    assert np.isnan(known(128, 0.02, "Langevin").at("E", 50.0)[0])


@pytest.mark.parametrize(
    "outside",
    [({4: 0.5}, T, 64, 0.02), (P3, 0.4, 64, 0.02), (P3, T, 16, 0.02), (P3, T, 64, 0.1)],
)
def test_nothing_is_known_outside_of_the_table(outside):
    assert shifts_of(*outside, "Langevin") is None
    assert shifts_of(P3, T, 64, 0.02, "SGD") is None
