"""What is exact is fitted with the weights of what was measured."""

import numpy as np
import pytest
from xarray import Dataset

from lightning_landscape.results.quantities.aging.collapse import collapse_row
from lightning_landscape.results.quantities.energy import _laws_of_decay

R = 8


def scatter(size, *shape):
    """Numbers of mean 0 over the replicas, which grow along the last axis but one."""
    noise = np.random.default_rng(0).standard_normal((*shape, R))
    noise -= noise.mean(-1, keepdims=True)
    return size * noise * np.geomspace(1, 30, shape[-1])[:, None]


def test_a_measured_mean_that_is_exact_deviates_in_no_law_of_decay():
    """The law does not hold exactly, so that other weights would give another slope."""
    t = np.geomspace(1, 100, 12)
    exact = -1 + 0.4 * t**-0.4 + 0.1 / t
    measured = exact[:, None] + scatter(1e-4, 12)
    dataset = Dataset(
        {"energy": (("t", "replica"), measured), "energy_exact": ("t", exact)}, coords={"t": t}
    )
    found = list(_laws_of_decay(dataset))
    assert len(found) == 2
    for row in found:
        assert row.measured == pytest.approx(row.exact, rel=1e-9)


def test_a_measured_mean_that_is_exact_deviates_in_no_collapse():
    tw, t = np.array([1.0, 10.0, 100.0]), np.geomspace(0.1, 100, 16)
    exact = np.log1p(t / tw[:, None] ** 0.8) + 0.05 * np.sin(t) ** 2
    measured = exact[..., None] + scatter(1e-3, 3, 16)
    dataset = Dataset(
        {"MSD": (("tw", "t", "replica"), measured), "MSD_exact": (("tw", "t"), exact)},
        coords={"t": t, "tw": tw},
    )
    (row,) = collapse_row(dataset)
    assert row.measured == pytest.approx(row.exact, abs=1e-6)
