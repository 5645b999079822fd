"""Changes of the data after training: against linear programs, counts by hand, and a null."""

from functools import partial

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import DecayingAdam, minimize
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.gaps import hinge_loss
from lightning_landscape.results.quantities.jamming.perturbation import (
    avalanche_sizes,
    exit_ratios,
    last_minima,
)
from lightning_landscape.results.summary import rows
from lightning_landscape.studies import Experiment, Processes
from lightning_landscape.studies.jamming import DataPerturbation, Family, Jamming, Scan
from lightning_landscape.studies.jamming.perturbation import gaps_of
from lightning_landscape.studies.jamming.training import Protocol, train

LINEAR = Family(0, RandomData(2000, 8), [1.0])
DEEP = Family(2, RandomData(2000, 6, normalized=True), [6.0])
ADAM = partial(DecayingAdam, lr=0.1, every=1000)
FAST = partial(DecayingAdam, lr=0.01, every=300, floor=1e-4)


def test_decompressed_without_hidden_layers_those_fit_again_that_a_linear_program_separates(
    separable,
):
    """At every change, of every network; a classifier of 8 dimensions, from 30 patterns to 6."""
    perturbation = DataPerturbation(ADAM, steps=1500, times=2, removed=12, added=0)
    each = Scan([LINEAR], [30], seeds=6).rounds[0]
    runs = train(Protocol(ADAM, steps=2000, margin=1e-3, perturbation=perturbation), 6, each)
    orders = LINEAR.patterns(30, 6, seed=0)
    fits = np.array([run["change_loss"] for run in runs]) < 1e-10
    exact = [[separable(LINEAR.data, order[12 * k :]) for k in range(3)] for order in orders]
    assert not fits[:, 0].all() and fits[:, -1].all()
    assert (fits == exact).all()
    assert runs[0]["change_P"] == [30, 18, 6]
    unsatisfied = np.array([run["change_unsatisfied"] for run in runs])
    assert ((unsatisfied == 0) == fits).all()
    avalanche = np.array([run["avalanche"] for run in runs])
    assert (avalanche[:, 1:][fits[:, :-1]] == 0).all()


def test_where_the_descent_is_at_its_end_nothing_changes_unless_patterns_do():
    """A linear classifier has a convex loss, whose one minimum is reached well before the end."""
    data = RandomData(400, 20, normalized=True)
    study = Scan([Family(0, data, [1.0])], [60], seeds=6)
    adam = partial(DecayingAdam, lr=0.05, every=150, floor=1e-6)
    perturbation = DataPerturbation(adam, steps=700, times=1, removed=20, added=20)
    runs = train(Protocol(adam, steps=700, perturbation=perturbation), 6, study.rounds[0])
    assert all(run["jammed"] and run["avalanche"][0] == 0 for run in runs)
    assert all(0 < size < 40 for run in runs for size in run["avalanche"][1:])


def test_an_avalanche_is_what_changes_among_the_patterns_that_stay():
    """Done by hand: networks that jam, 4 of 150 patterns dropped and 6 taken in, twice."""
    perturbation = DataPerturbation(FAST, steps=60, times=2, removed=4, added=6)
    each = Scan([DEEP], [150], seeds=3).rounds[0]
    runs = train(Protocol(FAST, steps=400, perturbation=perturbation), 3, each)
    energy, orders = DEEP.networks(6.0, 3, 0, margin=1.0), DEEP.patterns(162, 3, seed=0)
    minimize(energy, FAST, 400, 1e-10, orders[:, :150])
    sets = [unsatisfied(energy, orders, 0, 150)]
    minimize(energy, FAST, 60, 1e-10, orders[:, :150])
    sets.append(unsatisfied(energy, orders, 0, 150))
    for k in (1, 2):
        minimize(energy, FAST, 60, 1e-10, orders[:, 4 * k : 150 + 6 * k])
        sets.append(unsatisfied(energy, orders, 4 * k, 150 + 6 * k))
    stay = [range(150), range(4, 150), range(8, 156)]
    for r, run in enumerate(runs):
        sizes = [
            sum((p in before[r]) != (p in after[r]) for p in kept)
            for before, after, kept in zip(sets[:-1], sets[1:], stay, strict=True)
        ]
        assert run["avalanche"] == sizes and sizes[1] > 0
        assert run["change_P"] == [150, 152, 154]
        assert run["change_unsatisfied"] == [len(each[r]) for each in sets[1:]]
        last = gaps_of(energy, orders[:, 8:162])[r]
        assert run["gap"][:154] == pytest.approx(last.tolist(), abs=1e-9)
        assert np.isnan(run["gap"][154:]).all()
        assert run["change_loss"][-1] == pytest.approx(hinge_loss(last[None]).item(), rel=1e-6)


def unsatisfied(energy, orders, first, end):
    """The places in the order of the patterns that are not satisfied, for each network."""
    gaps = gaps_of(energy, orders[:, first:end])
    return [set((row > 1e-6).nonzero().flatten().add(first).tolist()) for row in gaps]


def test_the_record_knows_the_last_minima_and_where_they_were_left(tmp_path):
    perturbation = DataPerturbation(FAST, steps=500, times=3, removed=28, added=0)
    study = Scan([DEEP], [130], seeds=4)
    decompression = Jamming(study, FAST, steps=500, perturbation=perturbation)
    Experiment(decompression, Processes(1)).run(
        tmp_path / "decompression.nc", {"config": ""}, lambda line: None
    )
    many = records.read(tmp_path / "decompression.nc")
    assert many["jammed"].all() and (many["change_P"] == [130, 102, 74, 46]).all()
    jammed = (many["change_unsatisfied"] > 0.1 * many["N"]).to_numpy()
    assert not jammed[:, -1].any()  # the network of 78 weights fits 46 patterns
    first = jammed.argmin(1)
    exits = many["change_P"].to_numpy()[np.arange(4), first] / 78
    assert exit_ratios(many).values == pytest.approx(exits)
    assert (avalanche_sizes(many).notnull().to_numpy() == jammed[:, :-1]).all()
    gaps, loss = last_minima(many)
    N_Delta, P = (gaps > 1e-6).sum(1), (~gaps.isnan()).sum(1)
    assert (N_Delta > 7.8).all() and (loss > 1e-5).all()
    for r in range(4):
        k = many["change_P"].to_numpy()[r].tolist().index(int(P[r]), 1 if P[r] < 130 else 0)
        assert loss[r] == pytest.approx(float(many["change_loss"][r, k]))
        assert N_Delta[r] == int(many["change_unsatisfied"][r, k])
    names = [row.quantity for row in rows(many)]
    for words in ("avalanche (", "without a change", "ceased to jam", "N_Δ/N of the last minima"):
        assert sum(words in name for name in names) == 1, words


def test_the_table_has_the_exponents_that_the_gaps_were_made_with():
    """theta = 0.3 of Delta / sqrt(L), at a loss of its own in each network, and gamma = 0.2."""
    R, n, rng = 6, 4000, np.random.default_rng(0)
    positive = rng.random((R, n)) ** (1 / 1.3)  # on [0, 1], where the mean square is 1.3 / 3.3
    negative = -(rng.random((R, n)) ** (1 / 0.8))
    scale = np.geomspace(1e-3, 1e3, R)[:, None]  # so L is from 1e-7 to 1e5
    P = 2 * n
    one = np.ones(R)
    changes = np.stack([P * one, (P - 100) * one], axis=1)
    dataset = xarray.Dataset(
        {
            "depth": ("run", 2 * one),
            "N": ("run", n * one),
            "P": ("run", P * one),
            "jammed": ("run", one.astype(bool)),
            "unsatisfied": ("run", n * one),
            "change_P": (("run", "change"), changes),
            "change_unsatisfied": (("run", "change"), [[n, n]] * R),
            "avalanche": (("run", "change"), [[0, 5]] * R),
            "gap": (("run", "pattern"), np.hstack([scale * positive, negative])),
        },
        attrs={"probe": "JammingScan", "config": "RandomData"},
    )
    table = {row.quantity.split(" (")[0]: row for row in rows(dataset)}
    for name, exponent in (("θ of the last minima", 0.3), ("γ of the last minima", 0.2)):
        found = table[name]
        assert found.exact == exponent and 0 < found.error < 0.05
        assert abs(found.measured - exponent) < 4 * found.error
    loss = np.square(scale * positive).sum(1) / P / 2
    assert table["L of the last minima"].measured == pytest.approx(loss.mean())
    assert table["N_Δ/N of the last minima"].measured == 1.0
    assert table["avalanche"].measured == 5.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"removed": 1}, "removed = 1"),
        ({"added": -2}, "added = -2"),
        ({"removed": 0, "added": 0}, "must not both be 0"),
        ({"times": 0}, "times = 0"),
        ({"steps": 0}, "steps = 0"),
    ],
)
def test_impossible_perturbations_are_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        DataPerturbation(FAST, **options)


def test_perturbations_that_the_data_do_not_allow_are_refused_before_anything_is_trained():
    study = Scan([LINEAR], [100], seeds=2)
    with pytest.raises(UsageError, match="removed = 10"):
        Jamming(study, FAST, 10, perturbation=DataPerturbation(FAST, times=10, removed=10, added=0))
    with pytest.raises(UsageError, match="P = 2100"):
        Jamming(
            study, FAST, 10, perturbation=DataPerturbation(FAST, 10, 20, removed=100, added=100)
        )
