"""Whole studies: the transition where it has to be, and records that survive a kill."""

from functools import partial

import numpy as np
import pytest
import torch
import xarray

from lightning_landscape import records
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import DecayingAdam
from lightning_landscape.errors import UsageError
from lightning_landscape.results.summary import rows
from lightning_landscape.studies import Experiment, Processes, checkpoint
from lightning_landscape.studies.jamming import (
    CriticalLoad,
    CriticalWidth,
    DataPerturbation,
    Family,
    Jamming,
    Scan,
)
from lightning_landscape.studies.jamming.family import hidden_widths, weight_count
from lightning_landscape.studies.jamming.plan import NetworkRound
from lightning_landscape.studies.jamming.training import Protocol, train
from lightning_landscape.theory.jamming import cover_probability

FAST = partial(DecayingAdam, lr=0.01, every=300, floor=1e-4)
SLOW = partial(DecayingAdam, lr=0.003, every=8000, floor=3e-5)


def random_family(depth, d, width=None):
    return Family(depth, RandomData(20_000, d, normalized=True, seed=1), [width or d])


def small(**options):
    return Family(1, RandomData(400, 5, normalized=True, test_samples=50), [4.0], **options)


def run(study, path, tell=lambda line: None, processes=1):
    Experiment(study, Processes(processes)).run(path, {"config": ""}, tell)
    return records.read(path)


# physics


@pytest.mark.slow
def test_networks_fit_below_the_transition_and_jam_above(tmp_path):
    """N = 300: at P/N = 1.5 most fit, at 3 none does, and N_Delta has jumped above N/2.

    The others at 1.5 are on their way still, or have lost a pattern for good: width 12 is small.
    """
    family = random_family(2, 12)
    study = Scan([family], [1.5, 3.0], seeds=3, per_weight=True)
    dataset = run(Jamming(study, SLOW, steps=2000), tmp_path / "jump.nc")
    below = dataset.isel(run=np.flatnonzero(dataset["P"] == 450))
    above = dataset.isel(run=np.flatnonzero(dataset["P"] == 900))
    assert (below["N"] == 300).all()
    assert below["fits"].sum() >= 2 and below["jammed"].sum() <= 1
    assert above["jammed"].all() and not above["fits"].any()
    assert (above["loss"] > 1e-3).all()
    assert (above["unsatisfied"] > 0.5 * 300).all()


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "d"), [(1, 17), (2, 12)])
def test_the_transition_of_300_weights_is_where_it_was_found(tmp_path, depth, d):
    """Test 11: r_c in (1.8, 2.6), and hypostatic: N_Delta/N in [0.5, 0.95] where jamming begins."""
    study = CriticalLoad([random_family(depth, d)], seeds=12, ratios=(1, 6), error=0.03, rounds=6)
    dataset = run(Jamming(study, SLOW, steps=16_000), tmp_path / "line.nc")
    assert 1.8 < dataset["ratio"].item() < 2.6
    assert dataset["ratio_error"].item() < 0.1 and not dataset["bound"].any()
    # the few that stop before most do are not done with their descent
    P, share = dataset["P"].to_numpy(), dataset["jammed"].to_numpy()
    beyond = min(p for p in np.unique(P) if share[p == P].mean() >= 0.5)
    first = dataset.isel(run=np.flatnonzero(share & (beyond == P)))
    share = (first["unsatisfied"] / first["N"]).mean().item()
    assert 0.5 <= share <= 0.95


def test_without_hidden_layers_those_fit_that_a_linear_program_separates(separable):
    """Network by network; and their share lies between Cover's for d and for d + 1 dimensions.

    A bias is one dimension more for fair labels; for exactly balanced ones it helps less. The
    margin is small, so that what separates by little is reached.
    """
    d, P, R = 8, 16, 200
    family = Family(0, RandomData(20_000, d), [1.0])
    each = Scan([family], [P], seeds=R).rounds[0]
    adam = partial(DecayingAdam, lr=0.1, every=5000)
    fits = [run["fits"] for run in train(Protocol(adam, steps=2000, margin=1e-3), R, each)]
    assert fits == [separable(family.data, rows) for rows in family.patterns(P, R, 0)]
    share, bounds = np.mean(fits), (cover_probability(P, d), cover_probability(P, d + 1))
    error = 4 * np.sqrt(share * (1 - share) / R)
    assert bounds[0] - error < share < bounds[1] + error


def test_early_stopping_never_predicts_worse(tmp_path):
    experiment = Jamming(Scan([small()], [60], seeds=3), FAST, steps=300, test_error=True)
    dataset = run(experiment, tmp_path / "errors.nc")
    assert (dataset["early_test_error"] <= dataset["test_error"]).all()
    assert ((dataset["test_error"] > 0) & (dataset["test_error"] < 1)).all()


def test_what_is_recorded_is_what_the_networks_do():
    """Against a count by hand, of networks that do not fit."""
    study = Scan([small()], [120], seeds=3)
    each = study.rounds[0]
    runs = train(Protocol(FAST, steps=100), 3, each)
    family = study.points[0].family
    energy = family.networks(4.0, 3, 0, margin=1.0)
    adam = FAST(energy.parameters())
    batch = family.patterns(120, 3, 0)
    for _ in range(100):
        adam.zero_grad()
        energy(batch).sum().backward()
        adam.step()
    x, y = family.data.inputs[batch].double(), 2.0 * family.data.targets[batch] - 1
    with torch.no_grad():
        gaps = 1 - y * energy.architecture(x).squeeze(-1)
    for r, recorded in enumerate(runs):
        assert recorded["loss"] == pytest.approx(gaps[r].relu().square().mean().item() / 2)
        assert recorded["unsatisfied"] == (gaps[r] > 1e-6).sum()
        assert recorded["steps"] == 100 and not recorded["fits"]
        assert recorded["jammed"] == (recorded["unsatisfied"] > 0.1 * recorded["N"])


# records


class Killed(BaseException):
    pass


STUDIES = {
    Scan: {"samples": [20, 40]},
    CriticalLoad: {"rounds": 2, "error": 1e-3},
    CriticalWidth: {"samples": [40], "rounds": 3, "error": 1e-3},
}


@pytest.mark.parametrize("kind", STUDIES)
@pytest.mark.parametrize("stop", [1, 2])
def test_killed_and_continued_it_ends_with_the_same_record(tmp_path, kind, stop):
    families = [small(), Family(2, small().data, [3.0, 3.5])]
    if kind is CriticalWidth:
        families = [Family(1, small().data, [2.0, 8.0]), families[1]]
    perturbation = DataPerturbation(FAST, steps=10, times=2, removed=4, added=0)

    def experiment():
        study = kind(families, seeds=3, **STUDIES[kind])
        return Jamming(study, FAST, steps=20, perturbation=perturbation)

    lines = []

    def die(line):
        lines.append(line)
        if len(lines) == stop:
            raise Killed

    whole = run(experiment(), tmp_path / "whole.nc")
    with pytest.raises(Killed):
        run(experiment(), tmp_path / "cut.nc", die)
    assert records.read(tmp_path / "cut.nc").sizes["run"] == 3 * stop
    xarray.testing.assert_identical(run(experiment(), tmp_path / "cut.nc"), whole)
    assert whole.sizes["run"] == 3 * 2 * 3
    assert whole["avalanche"].dims == ("run", "change") and whole.sizes["change"] == 3


@pytest.mark.parametrize("written", [10, 21, 25, 32, 48, 72])
def test_killed_within_a_round_it_resumes_there(tmp_path, monkeypatch, written):
    """In the training of 20 steps, in the five descents of 10 that follow, and after each.

    A file is written before every step and after every descent: the only step that is written
    again is the one before which it was killed.
    """
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_WRITES", 0.0)
    writes = []

    def write(path, write_to):
        records.write_atomically(path, write_to)
        writes.append(path)
        if len(writes) == written:
            raise Killed

    def study():
        perturbation = DataPerturbation(FAST, steps=10, times=4, removed=4, added=2)
        scan = Scan([small()], [60], seeds=3)
        return Jamming(scan, FAST, 20, test_error=True, perturbation=perturbation)

    whole = run(study(), tmp_path / "whole.nc")
    monkeypatch.setattr(checkpoint, "write_atomically", write)
    with pytest.raises(Killed):
        run(study(), tmp_path / "cut.nc")
    assert not (tmp_path / "cut.nc").exists() and writes[0].exists()
    xarray.testing.assert_identical(run(study(), tmp_path / "cut.nc"), whole)
    ends = [21 + 11 * k for k in range(6)]
    assert len(writes) == ends[-1] + (written not in ends)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.nc", "whole.nc"]


def test_where_the_ratios_end_before_the_transition_r_c_is_called_a_bound(tmp_path):
    family = Family(1, small().data, [40.0])
    study = CriticalLoad([family], seeds=6, ratios=(0.02, 0.1), rounds=6, error=0.1)
    dataset = run(Jamming(study, FAST, steps=300), tmp_path / "line.nc")
    assert dataset["bound"].values.tolist() == [1]
    assert "a bound" in next(rows(dataset)).note


def test_the_finder_goes_where_it_knows_least_and_stops_when_it_knows():
    """Driven by an oracle with thresholds at P/N = 2 and 3 instead of networks."""
    data = RandomData(4000, 10, normalized=True)
    study = CriticalLoad([Family(1, data, [10.0, 20.0])], seeds=8, error=0.05, rounds=20)
    rng, runs = np.random.default_rng(0), []
    while (each := study.next(runs)) is not None:
        assert isinstance(each, NetworkRound) and each.samples % 2 == 0
        ratio = each.samples / each.point.N
        p = 1 / (1 + (ratio / (2, 3)[each.point.index]) ** -20)
        place = {"point": each.point.index, "P": each.samples, "N": each.point.N}
        runs += [place | {"jammed": bool(jams)} for jams in rng.random(8) < p]
    for point, r_c in zip(study.points, (2, 3), strict=True):
        found = study.threshold(point, runs).estimate()
        assert found.error <= 0.05
        assert abs(found.log_place - np.log(r_c)) < 4 * found.error
    assert len(runs) < 2 * 20 * 8


def test_in_width_the_size_is_found_where_half_of_the_networks_jam():
    """Driven by an oracle: those jam that have P/N above 2.5, up to a width of 5 %."""
    data = RandomData(4000, 10, normalized=True)
    families = [Family(depth, data, [3.0, 30.0]) for depth in (1, 2)]
    study = CriticalWidth(families, [200, 600], seeds=8, error=0.03, rounds=20)
    rng, runs = np.random.default_rng(0), []
    while (each := study.next(runs)) is not None:
        assert each.samples == (200, 600)[each.point.index % 2]
        assert 3 <= each.point.width <= 30
        N = weight_count([10, *hidden_widths(each.point.width, each.point.family.depth), 1])
        p = 1 / (1 + (each.samples / N / 2.5) ** -30)
        place = {"point": each.point.index, "P": each.samples, "N": N}
        runs += [place | {"jammed": bool(jams)} for jams in rng.random(8) < p]
    for point, P in zip(study.points, (200, 600) * 2, strict=True):
        found = study.threshold(point, runs).estimate()
        assert found.error <= 0.03
        assert abs(found.log_place - np.log(2.5)) < 4 * found.error
        assert study.place(point, 2.5) == (P / 2.5, P)
    assert len(runs) < 4 * 20 * 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Scan([], [10]), "families"),
        (lambda: Scan([small()], [1]), "samples"),
        (lambda: CriticalLoad([small()], ratios=(2, 1)), "ratios"),
        (lambda: CriticalLoad([small()], error=0), "error = 0"),
        (lambda: Jamming(Scan([small()], [10]), FAST, steps=0), "steps = 0"),
        (lambda: Jamming(Scan([small()], [500]), FAST, steps=9), "P = 500.*lower samples"),
        (
            lambda: Jamming(CriticalLoad([small()], ratios=(1, 30)), FAST, steps=9),
            "P = 720.*lower ratios",
        ),
        (lambda: Scan([small()], [float("nan")]), "samples"),
        (lambda: Jamming(Scan([small()], [10]), FAST, steps=9, margin=-1), "margin = -1"),
        pytest.param(
            lambda: Jamming(Scan([small()], [10]), FAST, steps=9, accelerator="gpu"),
            "accelerator = gpu.*take cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        (lambda: CriticalWidth([small()], [10]), "widths"),
        (lambda: CriticalWidth([Family(0, small().data, [1, 2])], [10]), "depth = 0"),
        (lambda: CriticalWidth([Family(1, small().data, [1, 2])], []), "samples"),
    ],
)
def test_impossible_settings_are_refused(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make()


def test_two_processes_train_the_same_networks_as_one(tmp_path):
    def record(processes):
        study = Jamming(Scan([small()], [60], seeds=3), FAST, 50)
        return run(study, tmp_path / f"{processes}.nc", processes=processes)

    one, two = record(1), record(2)
    assert two["replica"].values.tolist() == [0, 1, 2]
    assert two["loss"].values == pytest.approx(one["loss"].values, rel=1e-9)


def test_a_loss_that_rose_is_no_result():
    """Adam takes steps of its lr however large the gradient: it stays finite."""
    wild = partial(DecayingAdam, lr=1e30)
    with pytest.raises(UsageError, match=r"loss rose .* lower the optimizer's lr"):
        train(Protocol(wild, steps=20), 2, Scan([small()], [60]).rounds[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_same_networks_are_trained(tmp_path):
    """Up to rounding, which 50 steps do not let grow far."""

    def record(accelerator):
        perturbation = DataPerturbation(FAST, steps=20, times=2, removed=4, added=2)
        experiment = Jamming(
            Scan([small()], [60], seeds=3),
            FAST,
            50,
            test_error=True,
            perturbation=perturbation,
            accelerator=accelerator,
        )
        return run(experiment, tmp_path / f"{accelerator}.nc")

    on_cpu, on_gpu = record("cpu"), record("gpu")
    for name in ("loss", "change_loss", "gap", "early_test_error"):
        assert on_gpu[name].values == pytest.approx(on_cpu[name].values, rel=1e-6, nan_ok=True)
    assert on_gpu["avalanche"].equals(on_cpu["avalanche"])
