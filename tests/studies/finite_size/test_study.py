"""FiniteSize on small glasses: what is run, resumed and extrapolated."""

from functools import partial

import numpy as np
import pytest
import torch
import xarray

from lightning_landscape import records
from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews
from lightning_landscape.energies import Quadratic, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.correlation import displacement, overlap
from lightning_landscape.results.registry import look_up
from lightning_landscape.sphere import Sphere
from lightning_landscape.studies import Experiment, Processes
from lightning_landscape.studies.checkpoint import RoundCheckpoint
from lightning_landscape.studies.finite_size import FiniteSize
from lightning_landscape.studies.finite_size.study import SizeRound
from lightning_landscape.studies.finite_size.temperature import effective_temperatures
from lightning_landscape.studies.finite_size.trajectory import TimeGrid, measure

QUENCH = partial(Langevin, lr=0.1, temperature=0.5)
OPTIONS = {"last": 2.0, "waiting_times": [0.3], "first": 0.3, "per_decade": 4, "replicas": 4}
SMALL = {"seeds": 2, "error": 1e-6, "rounds": 2, **OPTIONS}


def study(sizes=(6, 8, 12, 16), optimizer=QUENCH, **options):
    return FiniteSize(partial(SphericalPSpin, p=3), optimizer, [*sizes], **(SMALL | options))


def run(each, path):
    Experiment(each, Processes(1)).run(path, {"config": ""}, lambda line: None)
    return records.read(path)


@pytest.mark.parametrize("dynamics", [Langevin, LeimkuhlerMatthews])
def test_what_is_measured_is_what_a_loop_by_hand_gives(dynamics):
    """E before the step, C and Delta of the configurations, chi of the noise of `Langevin`."""
    grid = TimeGrid.of(0.2, 1.0, 3, [0.0, 0.4], 0.1)
    optimizer = partial(dynamics, lr=0.1, temperature=0.5, seed=3)
    found = measure(SphericalPSpin(10, replicas=5, seed=2), optimizer, grid)
    energy = SphericalPSpin(10, replicas=5, seed=2)
    moved, path, values = optimizer(energy.parameters(), constraint=Sphere(10)), [], []
    score = torch.zeros_like(energy.x)
    if dynamics is Langevin:
        moved.scores[energy.x] = score
    scores = []
    for _ in range(11):
        moved.zero_grad()
        E = energy()
        E.sum().backward()
        path.append(energy.configuration().clone())
        scores.append(score.clone())
        values.append(E.detach().double() / 10)
        moved.step()
    of_times = torch.stack([values[k] for k in grid.times])
    assert found["E"].tolist() == pytest.approx(of_times.mean(1).tolist(), rel=1e-6)
    assert found["E_variance"].tolist() == pytest.approx(of_times.var(1).tolist(), rel=1e-4)
    for i, tw in enumerate(grid.waiting_times):
        for j, t in enumerate(grid.times):
            if tw + t > 10:
                assert found["C"][i, j].isnan()
                continue
            x, start = path[tw + t], path[tw]
            C = overlap(x, start).double()
            assert found["C"][i, j] == pytest.approx(C.mean().item())
            assert found["C_variance"][i, j] == pytest.approx(C.var().item())
            assert found["MSD"][i, j] == pytest.approx(displacement(x, start).mean().item())
            if dynamics is Langevin:
                noise = ((x - start) * (scores[tw + t] - scores[tw])).mean().item()
                assert found["chi"][i, j] == pytest.approx(noise, rel=1e-4, abs=1e-6)
    assert ("chi" in found) == (dynamics is Langevin)


def test_rounds_go_where_the_error_is_largest():
    each = study(rounds=3, error=0.05)
    recorded = []
    for expected in range(4):  # every point once, as an error needs two samples
        assert each.next(recorded).point.index == expected
        E = [-0.5, -0.5 + (0.2 if expected == 2 else 0.01)]
        recorded += [{"point": expected, "E": [value]} for value in E]
    assert each.next(recorded).point.index == 2
    recorded += [{"point": 2, "E": [value]} for value in (-0.4, -0.4)]
    assert each.next(recorded) is None  # 0.082 / 2


def test_killed_between_samples_it_ends_with_the_same_record(tmp_path, monkeypatch):
    whole = run(study(), tmp_path / "whole.nc")
    assert whole.sizes["run"] == 4 * 2 * 2
    ended, original = [], RoundCheckpoint.end

    def end(self, *args, **kwargs):
        original(self, *args, **kwargs)
        ended.append(args)
        if len(ended) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(RoundCheckpoint, "end", end)
    with pytest.raises(KeyboardInterrupt):
        run(study(), tmp_path / "cut.nc")
    xarray.testing.assert_identical(run(study(), tmp_path / "cut.nc"), whole)
    assert len(ended) == 16  # no sample twice
    assert next(iter(look_up("FiniteSize").rows(whole))).quantity.startswith("E(t = 0.3)")


def test_samples_are_independent_and_reproducible(tmp_path):
    dataset = run(study(half_step_sizes=[6]), tmp_path / "a.nc")
    assert len(np.unique(dataset["E"][:, 0])) == dataset.sizes["run"] == 20
    assert np.unique(dataset["time_step"]).tolist() == [0.05, 0.1]
    assert dataset["E_coefficients"].sizes["E_term"] == 4  # X, two of N, one of the step
    again = run(study(half_step_sizes=[6]), tmp_path / "b.nc")
    xarray.testing.assert_identical(again, dataset)


def test_a_small_glass_has_the_exact_limits(tmp_path):
    """Every limit within four errors of the exact curve, at a step whose effect is 5 of them."""
    each = study((12, 16, 24, 32), seeds=6, rounds=1, replicas=32, exponents={"E": [1.0]})
    found = run(each, tmp_path / "small.nc")
    for name in ("E", "C", "chi"):
        z = (found[f"{name}_limit"] - found[f"{name}_exact"]) / found[f"{name}_error"]
        assert np.nanmax(np.abs(z)) < 4, name
    assert float(found["E_error"].max()) < 0.05
    for panel in look_up("FiniteSize").panels(found):
        from matplotlib.figure import Figure

        panel(found, Figure().subplots())


def test_T_eff_of_curves_with_a_slope_and_its_jackknife():
    """chi = (Delta/2)/T (1 + e) with one e per sample: T_eff is T/(1 + mean e), errors by hand."""
    rng, T, n = np.random.default_rng(0), 0.4, 40
    decay = np.linspace(0.1, 1, 12)
    e = 0.1 * rng.normal(size=(2, n))
    chi = decay / T * (1 + e.reshape(-1, 1, 1))
    weights = np.array([-1.0, 2.0])  # of two points in the limit
    spread = np.ones((2, 1, 12)) * weights[:, None, None]
    mean = (weights * e.mean(1)).sum()
    t = np.arange(12.0)
    limit = decay / T * (1 + mean)
    found = xarray.Dataset(
        {
            "MSD": (("run", "tw", "t"), np.broadcast_to(2 * decay, (2 * n, 1, 12))),
            "chi": (("run", "tw", "t"), chi),
            **{f"MSD_{s}": (("tw", "t"), 2 * decay[None]) for s in ("limit", "shorter")},
            **{f"chi_{s}": (("tw", "t"), limit[None]) for s in ("limit", "shorter")},
            **{f"{name}_weights": (("points", "tw", "t"), spread) for name in ("MSD", "chi")},
        },
        {"tw": [1.0], "t": t},
    )
    members = [np.arange(n), np.arange(n, 2 * n)]
    T_eff = effective_temperatures(found, members)
    assert T_eff["T_eff_limit"][1] == pytest.approx(T / (1 + mean))
    error = (np.square(weights) * e.var(1, ddof=1) / n).sum() ** 0.5 * T / (1 + mean) ** 2
    assert T_eff["T_eff_statistical"][1] == pytest.approx(error, rel=0.02)
    assert T_eff["T_eff_error"][1] == pytest.approx(T_eff["T_eff_statistical"][1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sizes": [8, 16]}, "number of sizes = 2"),
        ({"half_step_sizes": [7]}, r"half_step_sizes = \[7\]"),
        ({"waiting_times": [3.0]}, "waiting_times"),
        ({"exponents": {"energy": [1.0]}}, "exponents"),
        ({"error": 0.0}, "error = 0.0"),
        ({"replicas": 0}, "replicas = 0"),
        ({"first": 0.0}, "first = 0"),
    ],
)
def test_impossible_settings_are_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        study(**options)


def test_an_energy_that_is_not_finite_is_one_sentence():
    grid = TimeGrid.of(1.0, 4.0, 2, [], 1.0)
    wild = partial(torch.optim.SGD, lr=1e30)
    with pytest.raises(UsageError, match="lower the optimizer's lr"):
        measure(Quadratic([1.0, 2.0], replicas=2), wild, grid)


def test_one_replica_has_no_variance():
    grid = TimeGrid.of(0.2, 0.4, 3, [0.0], 0.1)
    found = measure(SphericalPSpin(6, replicas=1, seed=2), QUENCH, grid)
    assert found["E"].isfinite().all() and found["E_variance"].isnan().all()
    assert found["chi_variance"].isnan().all()


@pytest.mark.parametrize(
    ("temperature", "dynamics", "told"),
    [(0.5, Langevin, True), (0.0, Langevin, False), (0.5, LeimkuhlerMatthews, False)],
)
def test_the_response_is_told_by_independent_noises_only(temperature, dynamics, told):
    optimizer = partial(dynamics, lr=0.1, temperature=temperature)
    found = measure(SphericalPSpin(6, replicas=2), optimizer, TimeGrid.of(0.2, 0.4, 3, [0.0], 0.1))
    assert ("chi" in found) == told


def test_times_are_those_of_the_steps_that_are_nearest():
    grid = TimeGrid.of(0.1, 10.0, 2, [0.5, 2.0], 0.04)
    assert grid.times[0] == 2 and grid.times[-1] == 250  # 0.1/0.04 = 2.5, to even
    assert grid.times == sorted(set(grid.times)) and grid.waiting_times == [12, 50]
    fine = grid.finer(2)
    assert fine.times == [2 * k for k in grid.times] and fine.waiting_times == [24, 100]
    assert 0 not in TimeGrid.of(0.01, 1.0, 4, [], 0.1).times  # a time below a step is left out


def test_every_sample_has_a_seed_of_its_own(monkeypatch):
    """Of points, of halved steps and of rounds; and the seed of the study moves all."""
    module, seeds = "lightning_landscape.studies.finite_size.study", []
    monkeypatch.setattr(f"{module}.measure", lambda energy, dynamics, grid: {})

    def told(N, replicas=1, seed=0):
        seeds.append(seed)
        return SphericalPSpin(N, replicas=replicas, seed=seed)

    def computed(seed):
        each = FiniteSize(told, QUENCH, [6, 8, 12], half_step_sizes=[8], seed=seed, **SMALL)
        seeds.clear()
        for point in each.points:
            for first in (0, 2):
                each.compute(SizeRound(point, first), [0, 1], RoundCheckpoint(None, ()))
        return list(seeds)

    first, second = computed(0), computed(5)
    assert len(set(first)) == len(first) == 4 * 2 * 2
    assert second == [seed + 5 for seed in first]


def test_the_halved_step_is_run_twice_as_long_and_measured_at_the_same_times():
    each = study(half_step_sizes=[8])
    assert [(p.N, p.time_step, p.refinement) for p in each.points] == [
        (6, 0.1, 1), (8, 0.1, 1), (12, 0.1, 1), (16, 0.1, 1), (8, 0.05, 2),
    ]  # fmt: skip
    results = each.compute(SizeRound(each.points[-1], 0), [0, 1], RoundCheckpoint(None, ()))
    assert [result["sample"] for result in results] == [0, 1]
    assert len(results[0]["E"]) == len(each.grid.times)
    assert results[0]["time_step"] == 0.05


def test_a_record_names_the_system_and_a_line_the_round(tmp_path):
    each = study(seeds=2, rounds=1)
    lines = []
    Experiment(each, Processes(1)).run(tmp_path / "a.nc", {"config": "a: 1"}, lines.append)
    found = records.read(tmp_path / "a.nc")
    a = found.attrs
    assert (a["N"], a["replicas"], a["dynamics"]) == ("6, 8, 12, 16", 4, "Langevin")
    assert (a["energy"], a["temperature"], a["time_step"]) == ("SphericalPSpin", 0.5, 0.1)
    assert np.isinf(a["start_temperature"]) and a["config"] == "a: 1"
    E = found["E"].isel(run=slice(2), t=-1).mean().item()
    assert lines[0] == f"N = 6, step 0.1, samples 0 to 1: E(2) = {E:.4f}"
    assert found["t"].attrs["units"] == "step size x steps"


def test_rounds_end_where_a_point_has_had_enough():
    each = study(rounds=1, error=1e-9)
    assert each.next([{"point": k, "E": [x]} for k in range(4) for x in (0.0, 1.0)]) is None


def test_rounds_are_told_apart_by_their_keys():
    each = study(half_step_sizes=[6])
    keys = {SizeRound(point, first).key for point in each.points for first in (0, 2)}
    assert len(keys) == 10
