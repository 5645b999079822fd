import math

import pytest
import torch
import xarray

from lightning_landscape.observables import (
    displacement,
    mean_and_error,
    overlap,
    replica_overlaps,
)


def test_overlap_of_each_replica_is_the_cosine():
    angles = torch.tensor([0.0, 1.0, math.pi / 2, 3.0])
    x = torch.tensor([[2.0, 0.0]]).expand(4, 2)
    y = 5 * torch.stack([angles.cos(), angles.sin()], dim=1)
    torch.testing.assert_close(overlap(x, y), angles.double().cos(), atol=1e-7, rtol=0)


def test_displacement_is_the_mean_square_over_components():
    x = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    y = torch.tensor([[2.0, 4.0], [0.0, 1.0]])
    assert displacement(x, y).tolist() == [2.5, 0.5]


def test_on_the_sphere_displacement_is_twice_one_minus_overlap():
    x, y = torch.randn(2, 8, 100, dtype=torch.float64)
    x, y = (v * 10 / v.norm(dim=1, keepdim=True) for v in (x, y))
    torch.testing.assert_close(displacement(x, y), 2 * (1 - overlap(x, y)))


def test_a_small_displacement_keeps_its_precision():
    x = torch.full((1, 1000), 1.0)
    y = x + 2**-20
    assert displacement(x, y).item() == pytest.approx(2.0**-40, rel=1e-6)


def test_replica_overlaps_are_those_of_all_pairs():
    x = torch.randn(5, 30, dtype=torch.float64)
    pairs = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    expected = torch.stack([overlap(x[a : a + 1], x[b : b + 1])[0] for a, b in pairs])
    torch.testing.assert_close(replica_overlaps(x), expected)


def test_of_many_replicas_each_is_in_as_many_pairs():
    R, D = 1000, 100
    x = torch.randn(R, 8, dtype=torch.float64)
    found = replica_overlaps(x).reshape(D, R)
    for d, a in ((1, 0), (37, 990), (100, 999)):
        b = (a + d) % R
        expected = overlap(x[a : a + 1], x[b : b + 1])[0]
        assert found[d - 1, a].item() == pytest.approx(expected.item(), abs=1e-12)


def test_the_error_of_a_mean_is_the_sample_deviation_over_root_R():
    values = xarray.DataArray([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]], dims=("t", "replica"))
    mean, error = mean_and_error(values)
    assert mean.values.tolist() == [3.0, 1.0]
    assert error.values.tolist() == pytest.approx([math.sqrt(7 / 3), 1.0])


def test_one_replica_has_no_error_bar():
    _, error = mean_and_error(xarray.DataArray([[1.0]], dims=("t", "replica")))
    assert math.isnan(error.item())


def test_an_overlap_near_one_keeps_its_precision():
    x = torch.ones(1, 10_000)
    y = x + 2**-12 * torch.tensor([1.0, -1.0]).repeat(5000)
    assert 1 - overlap(x, y).item() == pytest.approx(2**-25, rel=1e-6)
