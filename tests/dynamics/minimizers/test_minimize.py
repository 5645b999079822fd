"""Descent replica by replica: known minima, and replicas that leave without changing others."""

import copy
from functools import partial

import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import FIRE, DecayingAdam, minimize
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import gradient

OPTIMIZERS = {
    "descent": partial(torch.optim.SGD, lr=0.3),
    "momentum": partial(torch.optim.SGD, lr=0.05, momentum=0.9),
    "adam": partial(DecayingAdam, lr=0.01, every=200, floor=1e-4),
    "fire": partial(FIRE, lr=0.3),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())


def networks(samples=120, replicas=6, seed=1):
    """Small tanh networks: smooth, so that rounding grows slowly along a trajectory."""
    data = RandomData(samples, dimension=6, normalized=True)
    architecture = FullyConnected([6, 8, 1], "tanh", replicas, seed, dtype="float64")
    return NetworkEnergy(architecture, data, "quadratic_hinge")


def alone(make, steps, below, batch=None):
    """Each network by itself."""
    for r in range(6):
        energy = networks().only(torch.tensor([r]))
        rows = batch[r : r + 1] if batch is not None and batch.dim() == 2 else batch
        end = minimize(energy, make, steps, below, rows)
        yield energy.configuration()[0], end


@every_optimizer
@pytest.mark.parametrize("patterns", ["shared", "own"])
def test_replicas_that_leave_do_not_change_the_others(make, patterns):
    """Each moves as if alone, up to the rounding of products of another size, and stops there.

    The bound on the energy is in the middle of what 60 steps reach, so that they leave one by one.
    """
    batch = None
    if patterns == "own":
        batch = torch.stack([torch.arange(120).roll(r)[:100] for r in range(6)])
    reached = minimize(networks(), make, 60, -1.0, batch).energies
    below = reached.median().item() * 1.0001
    together = networks()
    end = minimize(together, make, 60, below, batch)
    assert 0 < end.done.sum() < 6
    for r, (configuration, one) in enumerate(alone(make, 60, below, batch)):
        assert end.done[r] == one.done[0]
        assert end.steps[r] == one.steps[0]
        assert torch.allclose(together.configuration()[r], configuration, rtol=1e-7, atol=1e-9)
        assert torch.allclose(end.energies[r], one.energies[0], rtol=1e-6)


def test_elementwise_energies_leave_bit_for_bit():
    """Where no product changes its size, nothing at all changes."""
    start = Quadratic([1.0, 30.0], replicas=5, dtype="float64", start=2.0).configuration()
    ends = []
    for below in (-1.0, 1e-2):
        well = Quadratic([1.0, 30.0], replicas=5, dtype="float64")
        well.load_configuration(start)
        seen = {}

        def watch(step, energy, rows, seen=seen):
            for r, x in zip(rows.tolist(), energy.configuration(), strict=True):
                seen[step, r] = x

        end = minimize(well, partial(torch.optim.SGD, lr=0.02), 100, below, watch=watch)
        ends.append((end, seen))
    (_, whole), (end, cut) = ends
    assert len(set(end.steps.tolist())) > 1
    assert all(x.equal(whole[place]) for place, x in cut.items())


def test_what_comes_back_is_what_was_reached():
    energy = networks(samples=48)
    end = minimize(energy, partial(DecayingAdam, lr=0.01, every=5000), 1000, 1e-10)
    assert torch.allclose(energy().detach(), end.energies, rtol=1e-6)
    assert ((end.energies < 1e-10) == end.done).all()
    assert ((end.steps < 1000) <= end.done).all()
    assert end.done.any()


def test_finished_replicas_cost_nothing():
    """The number of replica-gradients is the sum of the steps."""
    evaluated = []

    class Counting(Quadratic):
        def forward(self, batch=None):
            evaluated.append(self.replicas)
            return super().forward(batch)

    well = Counting([1.0], replicas=4, dtype="float64")
    well.load_configuration(torch.tensor([[1e-9], [1e-3], [1.0], [1e3]]).double())
    end = minimize(well, partial(torch.optim.SGD, lr=0.1), 1000, 1e-10)
    assert end.done.all() and end.steps[0] == 0
    # E = 0.9^2k x^2 / 2
    for steps, x in zip(end.steps.tolist()[1:], (1e-3, 1.0, 1e3), strict=True):
        assert 0.9 ** (2 * steps) * x * x / 2 < 1e-10 <= 0.9 ** (2 * steps - 2) * x * x / 2
    # one more when replicas are gone, for those that remain
    assert sum(evaluated) <= end.steps.sum() + 4 + len(evaluated)
    assert evaluated[-1] == 1


def test_adam_drops_its_step_as_published_and_is_torchs_in_between():
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 5).double()) for _ in range(2))
    adam = DecayingAdam([ours], lr=0.1, every=10, floor=0.002)
    reference = torch.optim.Adam([theirs], lr=0.1)
    for step in range(40):
        for group in reference.param_groups:
            group["lr"] = (0.1, 0.01, 0.002, 0.002)[step // 10]
        for x, optimizer in ((ours, adam), (theirs, reference)):
            x.grad = 4 * x.detach() ** 3 - x.detach()
            optimizer.step()
    assert ours.equal(theirs)


def test_a_replica_that_diverges_is_named():
    well = Quadratic([1.0], replicas=2, dtype="float64")
    with pytest.raises(UsageError, match=r"replica 0 is not finite at step \d+; lower .* lr = 3.0"):
        minimize(well, partial(torch.optim.SGD, lr=3.0), 10_000)


def test_no_steps_are_refused():
    with pytest.raises(UsageError, match="steps = 0"):
        minimize(networks(), OPTIMIZERS["descent"], 0)


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [(partial(FIRE, lr=0.05), 1e-10), (partial(torch.optim.SGD, lr=0.05), 1e-3)],
)
def test_on_the_sphere_a_glass_descends_to_a_stationary_point(make, tolerance):
    """Every replica in its own disorder; those below the bound leave, the others stay as alone."""
    start = SphericalPSpin(N=16, replicas=4, disorder="independent", dtype="float64")
    glass = start.only(torch.arange(4))
    end = minimize(glass, make, 800, -torch.inf)
    x, g = glass.configuration(), gradient(glass)
    assert torch.allclose(x.square().sum(1), torch.full((4,), 16.0).double(), rtol=1e-12)
    assert start.constraint.project_(g, x).norm(dim=1).max() < tolerance
    bound = end.energies.median().item() + 1e-9
    again = start.only(torch.arange(4))
    cut = minimize(again, make, 800, bound)
    assert cut.done.tolist() == (end.energies < bound).tolist()
    going = ~cut.done
    assert going.any() and cut.done.any()
    assert torch.allclose(again.configuration()[going], x[going], rtol=1e-8, atol=1e-8)


class Memory:
    """A checkpoint that keeps every state, and gives back a copy of one of them."""

    def __init__(self, state=None):
        self.states, self.state = [], state

    def load(self):
        return self.state

    def save(self, state):
        self.states.append(copy.deepcopy(state()))


@every_optimizer
def test_continued_from_any_step_it_ends_bit_for_bit(make):
    """Also from a step at which some replicas have gone already."""
    batch = torch.stack([torch.arange(120).roll(r)[:100] for r in range(6)])
    below = minimize(networks(), make, 40, -1.0, batch).energies.median().item() * 1.0001
    whole, memory = networks(), Memory()
    end = minimize(whole, make, 40, below, batch, checkpoint=memory)
    left = [len(state["rows"]) for state in memory.states]
    assert left[0] == 6 and left[-1] < 6
    for k in (0, 17, left.index(left[-1]), len(left) - 1):
        again = networks(seed=5)  # elsewhere
        ended = minimize(again, make, 40, below, batch, checkpoint=Memory(memory.states[k]))
        assert again.configuration().equal(whole.configuration())
        assert all(x.equal(y) for x, y in zip(end, ended, strict=True))
