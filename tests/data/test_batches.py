import pickle

import pytest
import torch

from lightning_landscape.data import Batches
from lightning_landscape.data.batches import _permutations
from lightning_landscape.errors import UsageError

KINDS = [
    {"replacement": replacement, "shared": shared}
    for replacement in (False, True)
    for shared in (False, True)
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_a_function_of_seed_and_step(kind):
    batches = Batches(batch_size=4, seed=3, **kind)
    forward = [batches(step, 22, 3) for step in range(20)]
    _permutations.cache_clear()
    torch.manual_seed(99)
    again = pickle.loads(pickle.dumps(batches))
    backward = [again(step, 22, 3) for step in reversed(range(20))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert torch.equal(a, b)
        assert a.dtype == torch.int64 and a.shape == ((4,) if kind["shared"] else (3, 4))
        assert a.min() >= 0 and a.max() < 22
    other = Batches(batch_size=4, seed=4, **kind)
    assert not torch.equal(other(0, 22, 3), forward[0])


@pytest.mark.parametrize("kind", KINDS)
def test_drawing_leaves_the_global_random_state_alone(kind):
    state = torch.get_rng_state()
    Batches(batch_size=4, **kind)(7, 22, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_changing_a_returned_batch_has_no_effect_on_later_ones():
    batches = Batches(batch_size=4)
    first = batches(0, 22, 3).clone()
    batches(0, 22, 3).zero_()
    assert torch.equal(batches(0, 22, 3), first)


def test_an_epoch_shows_each_sample_once_and_drops_the_rest():
    batches = Batches(batch_size=4, seed=3)  # 22 = 5 * 4 + 2
    epochs = []
    for epoch in range(4):
        seen = torch.cat([batches(5 * epoch + k, 22, 3) for k in range(5)], dim=1)  # (R, 20)
        assert all(len(set(row.tolist())) == 20 for row in seen)
        epochs.append(seen)
    flat = torch.stack(epochs)
    assert len({tuple(row.tolist()) for row in flat.flatten(0, 1)}) == 12
    assert set(flat.flatten().tolist()) == set(range(22))  # not always the same two are dropped


def test_every_sample_is_equally_likely_at_every_position():
    B, P, epochs = 2, 6, 4000
    batches = Batches(batch_size=B, seed=5)
    steps = torch.stack([batches(step, P, 1)[0] for step in range(epochs * P // B)])
    places = steps.view(epochs, P)
    counts = torch.stack([(places == mu).sum(0) for mu in range(P)]).double()  # (sample, place)
    chi2 = ((counts - epochs / P) ** 2 / (epochs / P)).sum().item()
    freedom = (P - 1) ** 2  # rows and columns sum to the number of epochs
    assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5  # 4 s.e.


def test_with_replacement_draws_are_uniform_and_may_repeat():
    B, P, R, steps = 10, 25, 4, 500
    batches = Batches(batch_size=B, seed=5, replacement=True)
    draws = torch.stack([batches(step, P, R) for step in range(steps)])  # (steps, R, B)
    counts = draws.flatten().bincount(minlength=P).double()
    expected = steps * R * B / P
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    assert abs(chi2 - (P - 1)) < 4 * (2 * (P - 1)) ** 0.5  # 4 s.e.
    # distinct indices in a batch: P [1 - (1 - 1/P)^B]
    distinct = torch.tensor([len(set(b.tolist())) for b in draws.flatten(0, 1)]).double()
    error = distinct.std().item() / (steps * R) ** 0.5
    assert abs(distinct.mean().item() - P * (1 - (1 - 1 / P) ** B)) < 4 * error


@pytest.mark.parametrize("replacement", [False, True])
def test_replicas_draw_independently(replacement):
    """Two sets of B out of P have B^2 / P indices in common on average, and no more."""
    B, P, steps = 20, 100, 1000
    batches = Batches(batch_size=B, seed=6, replacement=replacement)
    common = []
    for step in range(steps):
        one, other = batches(step, P, 2)
        common.append((one[:, None] == other).sum())  # pairs, when indices repeat
    common = torch.stack(common).double()
    error = common.std().item() / steps**0.5
    assert abs(common.mean().item() - B**2 / P) < 4 * error


@pytest.mark.parametrize("replacement", [False, True])
def test_the_draws_of_a_replica_do_not_depend_on_their_number(replacement):
    batches = Batches(batch_size=4, replacement=replacement)
    for step in range(12):
        assert torch.equal(batches(step, 22, 64)[:3], batches(step, 22, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_batch_of_one_process(kind, world_size):
    batches = Batches(batch_size=8, seed=3, **kind)
    for step in (0, 1, 7):
        parts = [batches(step, 22, 3, rank, world_size) for rank in range(world_size)]
        assert {part.shape[-1] for part in parts} == {8 // world_size}
        assert torch.equal(torch.cat(parts, dim=-1), batches(step, 22, 3))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Batches(batch_size=0), "batch_size = 0"),
        (lambda: Batches(batch_size=23)(0, 22, 1), "at most the 22 samples"),
        (lambda: Batches(batch_size=9)(0, 22, 1, 0, 2), "divisible by the 2 processes"),
    ],
)
def test_impossible_batches_are_refused(call, words):
    with pytest.raises(UsageError, match=words):
        call()
