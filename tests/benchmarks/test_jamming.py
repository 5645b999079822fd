"""Training of many networks at once, as the jamming studies do it."""

from functools import partial

import torch

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import FIRE, DecayingAdam, minimize
from lightning_landscape.studies.jamming import Family

R, P, D = 64, 600, 12


def networks(replicas):
    family = Family(2, RandomData(20_000, D, normalized=True), [D])
    energy = family.networks(D, replicas, seed=0, margin=1.0)
    return energy, family.patterns(P, replicas, seed=0)


def test_64_networks_against_one(compare):
    """Per network and step; about half of it is in the matrix products, which are the limit."""
    (many, rows), (one, row) = networks(R), networks(1)
    adam = partial(DecayingAdam, lr=1e-4)
    compare(
        f"descent of {R} networks of 300 weights, P = {P}, float64, 64 steps",
        lambda: minimize(many, adam, 64, -1.0, rows),
        lambda: [minimize(one, adam, 64 * 8, -1.0, row) for _ in range(R // 8)],
        against="one network, 64 x 64 steps",
        at_least=8,
        rounds=7,
    )


def test_what_replicas_that_leave_cost(compare):
    """Cutting down 64 networks one by one, against the steps that are saved."""
    energy, rows = networks(R)
    start = energy.configuration()
    reached = minimize(energy, partial(torch.optim.SGD, lr=0.1), 60, -1.0, rows).energies
    below = reached.median().item()

    def descend(bound):
        energy.load_configuration(start)
        minimize(energy, partial(torch.optim.SGD, lr=0.1), 120, bound, rows)

    compare(
        f"descent of {R} networks, 120 steps, where most leave after about 60",
        lambda: descend(below),
        lambda: descend(-1.0),
        against="the same where none leaves",
        at_most=0.85,
        rounds=5,
    )


def test_fire_against_its_gradient(compare):
    """The limit is 1: everything beside the gradient is a few passes over the parameters."""
    energy, rows = networks(R)

    def gradients():
        for _ in range(10):
            energy.zero_grad()
            energy(rows).sum().backward()

    compare(
        f"10 steps of FIRE, {R} networks of 300 weights, P = {P}",
        lambda: minimize(energy, partial(FIRE, lr=0.01), 10, -1.0, rows),
        gradients,
        against="10 gradients",
        at_most=1.4,
        rounds=7,
    )
