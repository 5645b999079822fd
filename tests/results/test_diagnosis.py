"""Verdicts from records: error bars of one replica, and what is said of a network."""

import numpy as np
import pytest
from xarray import Dataset

from lightning_landscape.results.diagnosis import page, verdicts
from lightning_landscape.results.diagnosis.verdict import mean_of_series


def test_the_error_of_a_correlated_series_is_that_of_its_mean():
    """The mean of n values of x' = r x + z has the standard deviation 1 / [(1 - r) sqrt n]."""
    r, n, rng = 0.8, 4000, np.random.default_rng(0)
    x = np.zeros(n)
    for k in range(1, n):
        x[k] = r * x[k - 1] + rng.standard_normal()
    exact = 1 / (1 - r) / n**0.5
    assert mean_of_series(x)[1] == pytest.approx(exact, rel=0.15)
    assert np.isnan(mean_of_series([1.0, 2.0, 3.0])[1])
    assert np.isnan(mean_of_series(np.arange(20.0))[1])  # a drift has no error bar


def classes(recall, t=(1.0,), share=None):
    R, C = np.shape(recall)
    dims = ("t", "replica", "class")
    share = np.full((R, C), 1 / C) if share is None else np.asarray(share)
    tables = {
        "recall": (dims, np.broadcast_to(recall, (len(t), R, C))),
        "descent": (dims, np.full((len(t), R, C), -1.0)),
        "share": (dims, np.broadcast_to(share, (len(t), R, C))),
        "repeated": (("t", "replica"), np.broadcast_to((share**2).sum(1), (len(t), R))),
        "frequency": (("t", "class"), np.tile([0.9, 0.1], (len(t), 1))),
    }
    return Dataset(tables, {"t": list(t)})


def test_a_class_without_recall_is_left_behind():
    (found,) = verdicts({"ClassBalance": classes([[1.0, 0.1], [0.9, 0.2]])})
    assert found.value == pytest.approx(0.15)
    assert found.stands == "class 1 (10 % of the samples) is left behind and its loss rises"
    (found,) = verdicts({"ClassBalance": classes([[0.9, 0.8], [0.9, 0.9]])})
    assert found.stands.startswith("alike")


def test_guesses_of_one_class_are_told_at_the_start_only():
    (found,) = verdicts({"ClassBalance": classes([[1.0, 0.0]], (0.0,), [[1.0, 0.0]])})
    assert found.stands == "100 % of the guesses are one class of 2"
    (found,) = verdicts({"ClassBalance": classes([[0.5, 0.5]], (0.0,))})
    assert found.stands.startswith("all classes")


@pytest.mark.parametrize(("lowest", "stands"), [(-5.0, "not in a valley"), (-0.01, "a valley")])
def test_the_floor(lowest, stands):
    one = {"trace": 20.0, "trace_of_square": 200.0}
    tables = {name: (("t", "replica"), [[x, x]]) for name, x in one.items()}
    for name, x in {"highest": 10.0, "lowest": lowest}.items():
        tables[name] = (("t", "replica", "rank"), [[[x], [x]]])
    (found,) = verdicts({"HessianSpectrum": Dataset(tables, {"t": [1.0]}, {"N": 100})})
    assert found.value == pytest.approx(20.0**2 / 200 / 100)
    assert found.stands.startswith(stands)


def test_the_parameters_with_most_of_the_curvature_are_named():
    """Two replicas with 0.7 and 0.9 of the trace in the second: 0.8(1)."""
    tables = {name: (("t", "replica"), [[10.0, 10.0]]) for name in ("trace", "trace_of_square")}
    for name in ("highest", "lowest"):
        tables[name] = (("t", "replica", "rank"), [[[1.0], [1.0]]])
    parts = ("t", "replica", "part")
    tables["part_trace"] = (parts, [[[3.0, 7.0], [1.0, 9.0]]])
    tables["part_trace_error"] = (parts, np.full((1, 2, 2), 0.1))
    dataset = Dataset(tables, {"t": [1.0], "part": ["in", "out"]}, {"N": 100})
    _, found = verdicts({"HessianSpectrum": dataset})
    assert (found.value, found.error) == pytest.approx((0.8, 0.1))
    assert found.stands == "out holds 80 % of the trace"


@pytest.mark.parametrize(
    ("cosine", "stands"),
    [(0.9, "the noise acts on curved"), (0.1, "the noise acts on flat"), (0.45, "cannot tell")],
)
def test_the_noise_beside_the_curvature(cosine, stands):
    tables = {name: (("t", "replica"), [[x]]) for name, x in
              {"cosine": cosine, "cosine_error": 0.05}.items()}  # fmt: skip
    (found,) = verdicts({"NoiseSpectrum": Dataset(tables, {"t": [1.0]})})
    assert found.stands.startswith(stands)


@pytest.mark.parametrize(("gain", "stands"), [(3.0, "yes: the Kronecker"), (1.2, "hardly")])
def test_the_best_preconditioner_is_named(gain, stands):
    kinds = ["none", "diagonal", "Kronecker", "fluctuations"]
    gains = np.array([[[1.0, 0.9, gain, 0.5], [1.0, 0.9, gain + 0.1, 0.5]]])
    dims = ("t", "replica", "preconditioner")
    tables = {"gain": (dims, gains), "spread": (dims, np.full((1, 2, 4), 5.0))}
    dataset = Dataset(tables, {"t": [1.0], "preconditioner": kinds})
    (found,) = verdicts({"Preconditioning": dataset})
    assert found.value == pytest.approx(gain + 0.05)
    assert found.stands.startswith(stands)


def test_a_page_says_what_is_left_out():
    assert page([], ["Is it stationary? too short"]).endswith("- Is it stationary? too short")
