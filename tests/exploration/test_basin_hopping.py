"""Basin hopping: the lowest minimum, and the weights of the minima it visits."""

import pytest
import torch

from lightning_landscape.energies import SixHumpCamel
from lightning_landscape.errors import UsageError
from lightning_landscape.exploration import Landscape, basin_hopping, quench


def test_all_walkers_find_the_lowest_minimum_of_the_camel():
    landscape = Landscape(SixHumpCamel(dtype="float64"))
    starts = landscape.starts(0, 0, 6, 1.5)
    walk = {"kick": 1.0, "temperature": 0.5, "max_step": 0.5}
    lowest = basin_hopping(landscape, starts, hops=15, **walk)
    assert lowest.energy == pytest.approx([-1.031628] * 6, abs=1e-6) and lowest.converged.all()
    first, again = (basin_hopping(landscape, starts, hops=2, **walk) for _ in range(2))
    assert torch.equal(first.x, again.x) and (lowest.energy <= first.energy).all()


def test_at_zero_temperature_a_walker_never_climbs_and_no_hop_is_a_quench():
    landscape = Landscape(SixHumpCamel(dtype="float64"))
    start = torch.tensor([[0.1, -0.7]]).double()
    stuck = basin_hopping(landscape, start, hops=10, kick=0.01, temperature=0.0)
    assert stuck.energy.item() == pytest.approx(-1.031628, abs=1e-6)
    none = basin_hopping(landscape, start, hops=0)
    assert torch.equal(none.x, quench(landscape, start, 0.4).x)


def test_impossible_arguments_are_refused():
    landscape = Landscape(SixHumpCamel(dtype="float64"))
    for name, value in {"hops": -1, "kick": 0, "temperature": -1}.items():
        with pytest.raises(UsageError, match=name):
            basin_hopping(landscape, torch.zeros(1, 2).double(), **{name: value})
