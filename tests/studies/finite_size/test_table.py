"""The table of shifts: from samples made of known shifts, and the file that is shipped."""

import json

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.studies.finite_size import table
from lightning_landscape.studies.finite_size.table import disorder_variance, shift_table
from lightning_landscape.theory.glasses import finite_size
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.finite_step import solve_discrete

SIZES, R = np.array([8, 16, 32, 64]), 32


def scattered(d, within, samples, seed=0):
    """Means of R replicas, which scatter by d/N^2 between samples and by within/N in one."""
    rng = np.random.default_rng(seed)
    N = np.repeat(SIZES, samples)
    mean = rng.normal(size=(len(N), 3)) * np.sqrt(d / N**2 + within / N / R)[:, None]
    values = {
        "E": (("run", "t"), mean),
        "E_variance": (("run", "t"), np.broadcast_to(within / N[:, None], mean.shape)),
        "N": ("run", N),
    }
    return xarray.Dataset(values, attrs={"replicas": R})


def test_the_variance_between_samples_is_what_the_replicas_do_not_explain():
    """A factor N or R too much or too little would be a factor of 8 or more."""
    n = 1500
    found = disorder_variance(scattered(0.5, 0.2, n), "E")
    # of size 8 alone the relative error would be sqrt(2/n) (d + within N/R)/d
    error = (2 / n) ** 0.5 * (0.5 + 0.2 * 8 / R)
    assert found == pytest.approx(0.5, abs=4 * error)
    assert found.shape == (3,)


def test_without_disorder_the_variance_is_zero_and_never_negative():
    found = np.array([disorder_variance(scattered(0.0, 0.2, 20, k), "E") for k in range(20)])
    assert (found >= 0).all() and (found == 0).mean() > 0.2
    assert found.mean() < 0.05


def test_by_hand_with_two_samples():
    """Variances 0.02 and 0.5 at N = 2 and 4, of which 0.01 and 0.02 are of 32 replicas."""
    values = {
        "C": ("run", [0.0, 0.2, 0.0, 1.0]),
        "C_variance": ("run", [0.3, 0.34, 0.64, 0.64]),
        "N": ("run", [2, 2, 4, 4]),
    }
    found = disorder_variance(xarray.Dataset(values, attrs={"replicas": 32}), "C")
    d, weights = np.array([4 * (0.02 - 0.01), 16 * (0.5 - 0.02)]), np.array([4 * 0.01, 16 * 0.02])
    assert found == pytest.approx(np.average(d, weights=weights**-2.0))


DT, T, TW = 0.04, np.array([0.08, 0.4, 2.0]), np.array([0.4])
REACHED = TW[:, None] + T <= T[-1]


@pytest.fixture(scope="module")
def study():
    """Samples at dt whose shifts are 0.3/N - 2/N^2 in E, and twice and thrice that in C and chi."""
    found = solve_discrete({3: 0.5}, 0.3, DT, round(T[-1] / DT))
    t, tw = np.rint(T / DT).astype(int), np.rint(TW / DT).astype(int)
    late = np.where(REACHED, tw[:, None] + t, 0)
    exact = {
        "E": found.energy[t],
        "C": np.where(REACHED, found.correlation[late, tw[:, None]], np.nan),
        "chi": np.where(REACHED, found.integrated_response[late, tw[:, None]], np.nan),
    }
    N = np.repeat(SIZES, 2)
    b = (0.3 / N - 2 / N**2) + 0.001 * np.tile([1, -1], 4)
    dims = {"E": ("run", "t"), "C": ("run", "tw", "t"), "chi": ("run", "tw", "t")}
    values = {"N": ("run", N), "time_step": ("run", np.full(8, DT))}
    for k, (name, curve) in enumerate(exact.items()):
        whole = curve + (k + 1) * b.reshape(-1, *[1] * curve.ndim)
        values |= {name: (dims[name], whole), f"{name}_variance": (dims[name], 0 * whole + 0.01)}
    attributes = {"mixture": '{"3": 0.5}', "temperature": 0.3, "time_step": DT, "replicas": R}
    return xarray.Dataset(values, {"t": T, "tw": TW}, attributes)


def test_the_table_has_the_shifts_that_the_samples_were_made_with(study):
    found = shift_table(study, "a command")
    assert (found["command"], found["sizes"]) == ("a command", SIZES.tolist())
    assert (found["mixture"], found["exponents"]) == ({"3": 0.5}, [1.0, 2.0])
    for k, name in enumerate(("E", "C", "chi")):
        b = np.array(found["size"][name]["coefficients"], float)
        # the step's law has two terms, exact at dt up to the tolerance of the solver
        assert np.nanmax(np.abs(b[0] - 0.3 * (k + 1))) < 2e-3
        assert np.nanmax(np.abs(b[1] + 2 * (k + 1))) < 2e-2
    assert found["size"]["C"]["coefficients"][0][0][2] is None  # not reached


def test_the_two_coefficients_of_the_step_give_back_both_steps(study):
    found = shift_table(study, "")
    solution = solve({3: 0.5}, 0.3, T[-1] * (1 + 1e-9), tolerance=1e-5)
    for scheme in ("Langevin", "LeimkuhlerMatthews"):
        c = np.array(found["step"][scheme]["E"])
        for h in (DT, DT / 2):
            steps = np.rint(T / h).astype(int)
            E = solve_discrete({3: 0.5}, 0.3, h, int(steps[-1]), scheme).energy[steps]
            expected = c[0] * h + c[1] * h**2
            assert expected == pytest.approx(E - solution.energy(T), abs=1e-7)


def test_the_module_writes_a_file_that_the_theory_reads(study, tmp_path, monkeypatch):
    record, written = tmp_path / "finite_size.nc", tmp_path / "table.json"
    records.write(study.assign_attrs(config=""), record)
    table.main(str(record), str(written))
    text = written.read_text()
    assert text.endswith("}\n") and "NaN" not in text
    finite_size._table.cache_clear()
    monkeypatch.setattr(finite_size, "TABLE", written)
    try:
        shifts = finite_size.shifts_of({3: 0.5}, 0.3, 20, DT, "Langevin")
        E, error = shifts.at("E", T)
        step = solve_discrete({3: 0.5}, 0.3, DT, 50).energy[[2, 10, 50]] - solve(
            {3: 0.5}, 0.3, 2.1
        ).energy(T)
        assert E == pytest.approx(0.3 / 20 - 2 / 400 + step, abs=1e-4)
        assert (error > 0).all()
        one = finite_size.shifts_of({3: 0.5}, 0.3, 20, DT, "Langevin", one_sample=True)
        assert (one.at("E", T)[1] >= error).all()
    finally:
        finite_size._table.cache_clear()


def test_the_shipped_table_has_everything_and_covers_the_shipped_times():
    found = json.loads(finite_size.TABLE.read_text())
    assert set(found) == {
        "command", "source", "mixture", "temperature", "sizes", "exponents",
        "t", "tw", "size", "disorder", "step",
    }  # fmt: skip
    t, tw = np.array(found["t"]), np.array(found["tw"])
    assert t[0] <= 0.1 and t[-1] == pytest.approx(40) and tw.tolist() == [0.48, 2.0, 8.0]
    for name, shape in {"E": t.shape, "C": (3, len(t)), "chi": (3, len(t))}.items():
        b = np.array(found["size"][name]["coefficients"], float)
        covariance = np.array(found["size"][name]["covariance"], float)
        assert b.shape == (2, *shape) and covariance.shape == (2, 2, *shape)
        known = np.isfinite(b[0])
        assert known.sum() >= 0.9 * known.size - 3
        assert np.array_equal(known, np.isfinite(covariance[0, 1]))
        assert (covariance[0, 0][known] > 0).all()
        assert np.array_equal(covariance[0, 1], covariance[1, 0], equal_nan=True)
        d = np.array(found["disorder"][name], float)
        assert d.shape == shape and (d[known] >= 0).all()
        for scheme in ("Langevin", "LeimkuhlerMatthews"):
            assert np.array(found["step"][scheme][name], float).shape == (2, *shape)
