"""What is recorded of networks: shares, resumption, and the smallest test error on the way."""

from functools import partial

import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import DecayingAdam
from lightning_landscape.errors import UsageError
from lightning_landscape.studies.checkpoint import RoundCheckpoint
from lightning_landscape.studies.jamming import DataPerturbation, Family, Jamming, Scan
from lightning_landscape.studies.jamming.training import Protocol, _EarlyStopping, train

ADAM = partial(DecayingAdam, lr=0.01, every=300, floor=1e-4)
FAMILY = Family(1, RandomData(200, 5, normalized=True, test_samples=40), [4.0])
ROUND = Scan([FAMILY], [40], seeds=4, seed=2).rounds[0]
PROTOCOL = Protocol(ADAM, steps=30, test_error=True)


@pytest.fixture(scope="module")
def whole():
    return train(PROTOCOL, 4, ROUND)


def test_a_share_has_the_networks_of_the_whole_round(whole):
    """Network r of a round is the same whoever trains it."""
    for share in ([2], [3, 1]):
        for found, r in zip(train(PROTOCOL, 4, ROUND, share), share, strict=True):
            assert found["replica"] == r
            assert found["loss"] == pytest.approx(whole[r]["loss"], rel=1e-9)
            assert found["unsatisfied"] == whole[r]["unsatisfied"]


def test_a_result_says_where_it_is_from(whole):
    for r, result in enumerate(whole):
        place = {name: result[name] for name in ("point", "depth", "width", "N", "P", "seed")}
        assert place == {"point": 0, "depth": 1, "width": 4.0, "N": 24, "P": 40, "seed": 2}
        assert result["replica"] == r and result["steps"] == 30
    assert len({result["loss"] for result in whole}) == 4


def test_networks_that_were_trained_are_not_trained_again(whole, tmp_path):
    path = tmp_path / "a.round"
    train(PROTOCOL, 4, ROUND, checkpoint=RoundCheckpoint(path, 0))

    def never(parameters):
        raise AssertionError

    untrained = PROTOCOL._replace(optimizer=never)
    assert train(untrained, 4, ROUND, checkpoint=RoundCheckpoint(path, 0)) == whole


def test_the_smallest_error_on_the_way_is_kept_at_logarithmic_steps():
    """The accuracies of two networks fall and rise; step 11 is not due, the first leaves early."""
    energy, watch = FAMILY.networks(4.0, 2, seed=0, margin=1.0), _EarlyStopping(2, 100)
    for step, accuracy, rows in (
        (1, [0.5, 0.25], [0, 1]),
        (10, [0.75, 0.125], [0, 1]),
        (11, [1.0, 1.0], [0, 1]),
        (100, [0.5], [1]),
    ):
        told = {"accuracy": torch.tensor(accuracy, dtype=torch.float64)}
        energy.evaluate = lambda part, told=told: told
        watch(step, energy, torch.tensor(rows))
    assert watch.best.tolist() == [0.25, 0.5]


def test_a_perturbation_adds_its_columns_and_leaves_the_others(whole):
    perturbation = DataPerturbation(ADAM, steps=5, times=2, removed=2, added=2)
    found = train(PROTOCOL._replace(perturbation=perturbation), 4, ROUND)
    for result, before in zip(found, whole, strict=True):
        assert result["loss"] == pytest.approx(before["loss"], rel=1e-9)
        assert result["change_P"] == [40, 40, 40] and len(result["avalanche"]) == 3
        assert len(result["gap"]) == 44


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"times": 0}, "times = 0"),
        ({"removed": 3}, "removed = 3: must be even"),
        ({"added": -2}, "added = -2"),
        ({"removed": 0, "added": 0}, "must not both be 0"),
    ],
)
def test_impossible_perturbations_are_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        DataPerturbation(ADAM, **options)


def test_a_perturbation_must_leave_patterns():
    perturbation = DataPerturbation(ADAM, times=10, removed=4, added=2)
    assert perturbation.patterns(40) == 60  # 20 more, of which the last sees 20
    with pytest.raises(UsageError, match="must leave 2 patterns of 20 after 10 changes"):
        perturbation.patterns(20)


def test_a_study_says_how_many_jam_and_what_it_is_of(whole):
    study = Jamming(Scan([FAMILY], [40], seeds=4), ADAM, 30, margin=0.5)
    runs = [run | {"jammed": k < 3} for k, run in enumerate(whole)]
    line = study.line(ROUND, runs)
    assert line == "depth 1, N = 24, P = 40 (P/N = 1.667): 3 of 4 jam"
    found = study.dataset(runs)
    assert (found.attrs["probe"], found.attrs["N"], found.attrs["margin"]) == (
        "JammingScan",
        "24",
        0.5,
    )
    assert found["jammed"].values.tolist() == [True, True, True, False]
