"""What a record tells of its system, and the mean of copies."""

import numpy as np
import pytest
import xarray

from lightning_landscape.results.copies import mean_of_copies
from lightning_landscape.results.system import bath_temperature, has_several_temperatures, title

SYSTEM = {"energy": "Quadratic", "N": 6, "replicas": 4}


def record(**attributes):
    return xarray.Dataset(attrs=SYSTEM | attributes)


@pytest.mark.parametrize(
    ("attributes", "several", "bath", "line"),
    [
        ({"temperature": 0.5}, False, 0.5, "Quadratic, N = 6, 4 replicas, T = 0.5"),
        ({"temperature": 0.0}, False, None, "Quadratic, N = 6, 4 replicas, T = 0"),
        ({"temperature": [0.2, 0.2]}, False, 0.2, "Quadratic, N = 6, 4 replicas, T = 0.2"),
        ({"temperature": [0.2, 0.4]}, True, None, "Quadratic, N = 6, 4 replicas, T = 0.2…"),
        (
            {"temperature": 0.5, "temperature_is_constant": False},
            False,
            0.5,
            "Quadratic, N = 6, 4 replicas, T changes",
        ),
    ],
)
def test_temperatures_and_title(attributes, several, bath, line):
    dataset = record(**attributes)
    assert has_several_temperatures(dataset) == several
    assert bath_temperature(dataset) == bath
    assert title(dataset) == line


def test_a_foreign_run_has_a_size_only():
    assert title(xarray.Dataset(attrs={"N": 6})) == "network, N = 6"
    assert not has_several_temperatures(xarray.Dataset())


def copies(**attributes):
    """Two copies of two replicas: rows 0 and 2 are copies of replica 0."""
    values = {"E": (("t", "replica"), [[1.0, 2.0, 3.0, 6.0]]), "lr": ("t", [0.1])}
    attributes = SYSTEM | {"copies": 2, "temperature": 0.5} | attributes
    return xarray.Dataset(values, {"t": [1.0]}, attributes)


def test_the_copies_of_a_replica_become_their_mean():
    found = mean_of_copies(copies())
    assert found["E"].values.tolist() == [[2.0, 4.0]]
    assert found["lr"].values.tolist() == [0.1]
    assert found.attrs["replicas"] == 2 and found.attrs["temperature"] == 0.5


def test_replicas_keep_their_temperatures_and_copies_at_different_ones_stay_apart():
    ladder = mean_of_copies(copies(temperature=[0.2, 0.4, 0.2, 0.4]))
    assert ladder.attrs["temperature"] == [0.2, 0.4]
    apart = copies(temperature=[0.2, 0.2, 0.4, 0.4])
    assert mean_of_copies(apart) is apart
    single = copies(copies=1)
    assert mean_of_copies(single) is single


def test_a_record_that_has_the_replicas_inside_already_keeps_its_numbers():
    inside = copies().isel(replica=slice(2))
    found = mean_of_copies(inside)
    assert found["E"].values.tolist() == [[1.0, 2.0]] and found.attrs["replicas"] == 2
    assert np.isscalar(found.attrs["temperature"])
