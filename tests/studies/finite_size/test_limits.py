"""The limits of a study of known samples: the law, the effect of the step, and what is missing."""

import numpy as np
import pytest
import xarray

from lightning_landscape.studies.finite_size import Law
from lightning_landscape.studies.finite_size.exact import step_effect, with_exact
from lightning_landscape.studies.finite_size.limits import limits
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.finite_step import solve_discrete

LAWS = dict.fromkeys(("E", "C", "MSD", "chi"), Law((1.0, 2.0)))
SIZES = np.array([8, 16, 32, 64])
DT, T = 0.05, np.array([0.1, 0.5, 1.0, 2.0])
TW = np.array([0.5, 1.5])
REACHED = TW[:, None] + T <= T[-1] + 1e-9
GLASS = {
    "theory": "pspin",
    "mixture": '{"3": 0.5}',
    "temperature": 0.5,
    "start_temperature": np.inf,
    "time_step": DT,
    "dynamics": "Langevin",
}


def samples(E, C=None, chi=None, steps=None, **attributes):
    """Two samples of each size around b_1/N + b_2/N^2 with means that are exact."""
    N = np.repeat(SIZES if steps is None else [*SIZES, *SIZES], 2)
    dt = np.full(len(N), DT) if steps is None else np.repeat(steps, 2)
    gap = 0.3 / N - 0.5 / N**2
    scatter = 0.01 * np.tile([1, -1], len(N) // 2)
    E = E + (gap + scatter + (0.4 * (dt - DT) if steps is not None else 0))[:, None]
    values = {
        "E": (("run", "t"), E),
        "N": ("run", N),
        "time_step": ("run", dt),
        "point": ("run", np.repeat(np.arange(len(N) // 2), 2)),
    }
    two = ("run", "tw", "t")
    if C is not None:
        C = C + (gap + scatter)[:, None, None]
        values |= {"C": (two, C), "MSD": (two, 2 - 2 * C)}
        values["chi"] = (two, chi + (gap + scatter)[:, None, None])
    return xarray.Dataset(values, {"t": T, "tw": TW}, attributes)


@pytest.fixture(scope="module")
def discrete():
    """E, C and chi at the step DT, for N to infinity."""
    found = solve_discrete({3: 0.5}, 0.5, DT, round(T[-1] / DT))
    t, tw = np.rint(T / DT).astype(int), np.rint(TW / DT).astype(int)
    late = np.where(REACHED, tw[:, None] + t, 0)
    C = np.where(REACHED, found.correlation[late, tw[:, None]], np.nan)
    chi = np.where(REACHED, found.integrated_response[late, tw[:, None]], np.nan)
    return found.energy[t], C, chi


def test_after_the_exact_effect_of_the_step_the_limits_are_those_of_continuous_time(discrete):
    found = limits(samples(*discrete, **GLASS), LAWS)
    solution = solve({3: 0.5}, 0.5, T[-1] * (1 + 1e-9))
    assert found["E_limit"].values == pytest.approx(solution.energy(T), abs=1e-9)
    late = np.where(REACHED, TW[:, None] + T, TW[:, None])
    early = np.broadcast_to(TW[:, None], late.shape)
    C = solution.correlation(late, early)
    assert found["C_limit"].values[REACHED] == pytest.approx(C[REACHED], abs=1e-9)
    assert found["MSD_limit"].values[REACHED] == pytest.approx(2 - 2 * C[REACHED], abs=1e-9)
    for name in ("E", "C", "MSD", "chi"):
        difference = (found[f"{name}_limit"] - found[f"{name}_exact"]).values
        assert np.nanmax(np.abs(difference)) < 1e-9, name
    assert np.isnan(found["chi_limit"].values[~REACHED]).all()
    assert np.isnan(found["chi_exact"].values[~REACHED]).all()


def test_coefficients_and_chi2_are_those_of_the_samples(discrete):
    found = limits(samples(*discrete, **GLASS), LAWS)
    b = found["E_coefficients"].values[1:]
    assert b == pytest.approx(np.array([[0.3] * 4, [-0.5] * 4]), abs=1e-6)
    assert found["E_chi2"].values == pytest.approx(0, abs=1e-12)
    assert found["E_chi2"].attrs == {"freedom": 1}
    assert found["C_weights"].dims == ("points", "tw", "t")
    weights, error = found["E_weights"].values, 0.01  # of each mean: sd 0.01 sqrt 2, over sqrt 2
    statistical = np.square(weights * error).sum(0) ** 0.5
    assert found["E_statistical"].values == pytest.approx(statistical)
    assert found["C_covariance"].dims == ("C_term", "C_term_2", "tw", "t")


def test_without_theory_a_second_step_measures_its_effect():
    steps = np.repeat([DT, DT / 2], 4)
    found = limits(samples(np.zeros(4), steps=steps), LAWS)
    assert found["E_coefficients"].values[3] == pytest.approx(0.4)
    assert found["E_limit"].values == pytest.approx(-0.4 * DT)
    assert "E_exact" not in found


def test_without_theory_the_effect_of_one_step_stays():
    found = limits(samples(np.zeros(4), time_step=DT), LAWS)
    assert found["E_limit"].values == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("runs", [slice(0, 2), slice(0, 7)])
def test_one_point_or_a_point_with_one_sample_has_no_limit_yet(runs):
    """Also seven samples: the last size has one, of which no error is known."""
    few = samples(np.zeros(4), time_step=DT).isel(run=runs)
    assert limits(few, LAWS) is few


def test_two_sizes_wait_for_the_third_that_the_law_needs():
    found = limits(samples(np.zeros(4), time_step=DT).isel(run=slice(4)), LAWS)
    assert "E_limit" not in found
    one = limits(samples(np.zeros(4), time_step=DT).isel(run=slice(4)), LAWS | {"E": Law((1.0,))})
    assert one["E_limit"].shape == (4,)


def test_where_samples_agree_to_the_last_digit_there_is_no_error_and_no_limit():
    same = samples(np.zeros(4), time_step=DT)
    same["E"][:, 0] = 1.0
    found = limits(same, LAWS)
    assert np.isnan(found["E_limit"][0]) and np.isfinite(found["E_limit"][1:]).all()


@pytest.mark.parametrize(
    "changed",
    [
        {"theory": ""},
        {"start_temperature": 0.8},
        {"dynamics": "Underdamped"},
        {"time_step": 1e-4},  # more steps than are solved
    ],
)
def test_where_theory_does_not_know_the_effect_of_the_step_there_is_none(changed):
    assert step_effect(samples(np.zeros(4), **(GLASS | changed))) is None


def test_the_effect_of_the_step_is_the_difference_of_two_solutions(discrete):
    E, C, chi = discrete
    found = step_effect(samples(E, C, chi, **GLASS))
    solution = solve({3: 0.5}, 0.5, T[-1] * (1 + 1e-9))
    assert found["E"] == pytest.approx(E - solution.energy(T), abs=1e-12)
    assert found["MSD"][REACHED] == pytest.approx(-2 * found["C"][REACHED])
    assert np.isnan(found["chi"][~REACHED]).all()
    assert abs(found["E"][1]) > 0.01  # at dt = 0.05 a hundredth in E


def test_other_systems_keep_their_record_as_it_is():
    found = samples(np.zeros(4), time_step=DT)
    assert with_exact(found) is found
