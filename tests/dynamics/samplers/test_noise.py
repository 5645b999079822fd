"""The noise of a dynamics: one buffer, cut into the shapes of the parameters."""

import pytest
import torch

from lightning_landscape.dynamics.samplers.noise import Noise, SuccessiveSums
from lightning_landscape.rng import Stream


@pytest.fixture
def parameters():
    return [torch.empty(3, 5), torch.empty(2, dtype=torch.float64), torch.empty(4, 4, 4)]


def test_noise_is_one_buffer_cut_into_the_shapes_of_the_parameters(parameters):
    noise = Noise(parameters, seed=4)(7)
    flat = torch.empty(81)
    Stream(4, "langevin").normal_(flat, 7)
    assert [noise[p].shape for p in parameters] == [p.shape for p in parameters]
    assert torch.cat([noise[p].flatten() for p in parameters]).equal(flat)


@pytest.mark.parametrize("steps", [[0, 1, 2, 3], [5, 9, 9, 10, 2, 3]])
def test_successive_sums_are_sums_whatever_was_drawn_before(parameters, steps):
    sums, single = SuccessiveSums(parameters, seed=4), Noise(parameters, seed=4)
    for step in steps:
        first = {p: xi.clone() for p, xi in single(step).items()}
        second = single(step + 1)
        drawn = sums(step)
        assert all(drawn[p].equal(first[p] + second[p]) for p in parameters)
