"""What is said and drawn of trained ensembles, from records written by hand."""

import numpy as np
import pytest

from lightning_landscape.results.quantities.ensembles.learning_curve import load_at_error
from lightning_landscape.results.quantities.ensembles.nearly_kernel import by_width, variance_ratio

from .conftest import curves, record, table

rng = np.random.default_rng(0)


def aspect_ratio(losses=((0.3, 0.5), (0.1, 0.3), (0.4, 0.4))):
    """Depths 2, 4, 8, two networks each; the last depth in two runs."""
    runs = [*losses[:2], losses[2], losses[2]]
    values = (("run", "network"), np.array(runs))
    variables = {"depth": ("run", [2, 4, 8, 8]), "loss": values, "accuracy": values}
    return record("AspectRatio", variables, width=16, r_optimal=0.26, activation="tanh")


def test_aspect_ratio(panels):
    rows = table(aspect_ratio())
    assert rows["test loss, L = 4 (r = 0.25)"].measured == pytest.approx(0.2)
    assert rows["test loss, L = 4 (r = 0.25)"].error == pytest.approx(0.1)
    assert rows["test loss, L = 8 (r = 0.5)"].error == pytest.approx(0, abs=1e-12)
    best = rows["r of the smallest test loss"]
    assert best.measured == 0.25 and best.exact == 0.26 and np.isnan(best.deviation)
    losses, _ = panels(aspect_ratio())
    np.testing.assert_allclose(curves(losses)[0], [[0.125, 0.4], [0.25, 0.2], [0.5, 0.4]])
    assert losses.lines[-1].get_xdata()[0] == 0.26


def nearly_kernel(widths=(10, 20, 40), factor=5.0):
    """Outputs of variance (1 + factor / n) times that of the kernel, whose mean they have."""
    mean, variance = rng.normal(size=6), rng.uniform(0.5, 1.5, size=6)
    outputs = [
        mean + np.sqrt(variance * (1 + factor / n)) * rng.normal(size=(400, 6)) for n in widths
    ]
    variables = {
        "width": ("run", list(widths)),
        "output": (("run", "network", "sample"), np.array(outputs)),
        "mean_exact": ("sample", mean),
        "variance_exact": ("sample", variance),
        "mean_first_order": ("sample", 0 * mean),
        "variance_first_order": ("sample", factor * variance),
    }
    return record("NearlyKernel", variables, depth=3)


def test_nearly_kernel(panels):
    dataset = nearly_kernel()
    rows = table(dataset)
    for n in (10, 20, 40):
        each = rows[f"n (variance / that of n = ∞ - 1), n = {n}"]
        assert each.measured == pytest.approx(5, abs=4 * each.error)
        assert 0.02 * n < each.error < 0.1 * n
    for what in ("variance", "mean"):
        limit = rows[f"{what} / that of the kernel"]
        assert limit.exact == 1 and abs(limit.deviation) < 4 and limit.error < 0.2
        slope = rows[f"n ({what} / that of the kernel - 1)"]
        assert slope.exact == pytest.approx({"variance": 5, "mean": 0}[what])
        assert abs(slope.deviation) < 4 and slope.error < 3
    ratios, means = panels(dataset)
    assert curves(ratios)[0][:, 0].tolist() == [1 / 10, 1 / 20, 1 / 40]
    assert len(means.lines) == 4


def test_without_a_prediction_there_are_limits():
    dataset = nearly_kernel().drop_vars(["mean_first_order", "variance_first_order"])
    assert np.isnan(table(dataset)["n (mean / that of the kernel - 1)"].exact)


def test_one_width_has_no_limit():
    assert not [name for name in table(nearly_kernel((10,))) if "of the kernel" in name]


def test_the_jackknife_of_the_variance():
    """For normal outputs its relative error is sqrt(2 / networks), over independent samples."""
    dataset = nearly_kernel((16,), factor=0.0)
    _, error = by_width(dataset, variance_ratio)[16]
    assert error == pytest.approx(np.sqrt(2 / 400 / 6), rel=0.5)


def learning_curve():
    variables = {
        "learner": ("run", ["net", "net", "net", "net", "tangent kernel"]),
        "P": ("run", [50, 50, 200, 200, 100]),
        "error": ("run", [0.5, 0.7, 0.0, 0.02, 0.45]),
        "sensitivity": (("run", "level"), [[0.8, 0.9]] * 2 + [[0.2, 0.4]] * 2 + [[np.nan] * 2]),
    }
    return record("LearningCurve", variables, characteristic_size=100, n_c=2)


def test_learning_curve(panels):
    rows = table(learning_curve())
    first = rows["test error, net, P = 0.5 P*"]
    assert first.measured == pytest.approx(0.6) and first.error == pytest.approx(0.1)
    assert np.isnan(rows["test error, tangent kernel, P = 1 P*"].error)
    tenth = rows["P / P* at a tenth of the error of chance, net"].measured
    assert tenth == pytest.approx(0.5 * 4 ** (0.55 / 0.59))
    assert "P / P* at a tenth of the error of chance, tangent kernel" not in rows
    errors, sensitivities = panels(learning_curve())
    assert len(curves(errors)) == 2
    np.testing.assert_allclose(curves(sensitivities)[1], [[0.5, 0.9], [2, 0.4]])


def test_where_the_error_is_small_enough():
    assert np.isnan(load_at_error([1, 2], [0.5, 0.3], 0.1))
    assert load_at_error([1, 2, 8], [0.5, 0.3, 0.1], 0.2) == pytest.approx(4)
