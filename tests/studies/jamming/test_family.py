"""Sizes, counts and patterns of the families."""

import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.errors import UsageError
from lightning_landscape.studies.jamming import Family
from lightning_landscape.studies.jamming.family import hidden_widths, nested_patterns, weight_count

DATA = RandomData(60, dimension=6, normalized=True)


@pytest.mark.parametrize(("d", "depth", "N"), [(51, 3, 7854), (62, 2, 7750), (40, 5, 8040)])
def test_the_published_sizes(d, depth, N):
    assert weight_count([d, *hidden_widths(d, depth), 1]) == N == d * d * depth + d


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_a_whole_width_is_that_of_every_layer_and_fractions_grow_one_by_one(depth):
    """At h + k/L the first k layers are one wider."""
    for h in (3, 12, 30):
        assert hidden_widths(h, depth) == [h] * depth
        for k in range(depth):
            assert hidden_widths(h + k / depth, depth) == [h + 1] * k + [h] * (depth - k)


def test_N_is_the_number_of_parameters_less_one_a_neuron():
    family = Family(3, DATA, [9.4])
    energy = family.networks(9.4, replicas=2, seed=0, margin=1.0)
    neurons = 10 + 9 + 9 + 1
    assert family.layers(9.4) == [6, 10, 9, 9, 1]
    assert family.size(9.4) == energy.N - neurons
    assert energy.configuration().dtype == torch.float64


def test_patterns_are_nested_balanced_and_independent():
    labels = DATA.targets
    many, few = (nested_patterns(labels, P, replicas=5, seed=3) for P in (50, 12))
    assert many[:, :12].equal(few)
    assert labels[many].equal(torch.arange(50).remainder(2).expand(5, -1))
    assert all(len(set(row.tolist())) == 50 for row in many)
    assert len({tuple(row.tolist()) for row in few}) == 5
    assert not nested_patterns(labels, 12, replicas=5, seed=4).equal(few)


def test_more_patterns_than_there_are_is_refused():
    with pytest.raises(UsageError, match="P = 62: must be at least 2 and at most 60"):
        nested_patterns(DATA.targets, 62, replicas=1, seed=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"depth": -1}, "depth = -1"),
        ({"widths": []}, "widths"),
        ({"data": RandomData(60, dimension=6, classes=3)}, "classes of the data = 3"),
    ],
)
def test_impossible_families_are_refused(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        Family(**({"depth": 1, "data": DATA, "widths": [3]} | arguments))
