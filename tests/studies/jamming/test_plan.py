"""Which networks come next: grids, thresholds, and the places where they are trained."""

import math

import numpy as np

from lightning_landscape.data import RandomData
from lightning_landscape.studies.jamming import CriticalLoad, CriticalWidth, Family, Scan
from lightning_landscape.studies.jamming.plan import NetworkRound, Point

DATA = RandomData(4000, 10, normalized=True)
ONE, TWO = Family(1, DATA, [4.0, 8.0]), Family(2, DATA, [5.0])


def test_points_are_all_widths_of_all_families_in_order():
    points = Scan([ONE, TWO], [20]).points
    assert [(p.index, p.family, p.width) for p in points] == [
        (0, ONE, 4.0), (1, ONE, 8.0), (2, TWO, 5.0),
    ]  # fmt: skip
    assert [p.N for p in points] == [4 * 10 + 4, 8 * 10 + 8, 10 * 5 + 5 * 5 + 5]


def test_a_scan_goes_through_its_grid_and_ends():
    scan, runs, seen = Scan([ONE, TWO], [20, 40], seeds=3, seed=7), [], []
    while (each := scan.next(runs)) is not None:
        seen.append((each.point.index, each.samples, each.seed))
        runs += [{}] * 3
    assert seen == [(k, P, 7) for k in range(3) for P in (20, 40)]


def test_an_unfinished_round_counts_as_not_begun():
    """A record holds whole rounds; less than a round more is of no round."""
    scan = Scan([ONE], [20, 40], seeds=3)
    assert scan.next([{}] * 5) is scan.rounds[1]


def test_ratios_are_multiples_of_the_number_of_weights():
    scan = Scan([ONE], [0.5, 2.0], per_weight=True)
    assert [each.samples for each in scan.rounds] == [22, 88, 44, 176]
    assert list(scan.largest()) == [(ONE, 22), (ONE, 88), (ONE, 44), (ONE, 176)]


def test_rounds_are_told_apart_by_point_width_load_and_seed():
    point = Point(0, ONE, 4.0)
    base = NetworkRound(point, 20, 0)
    others = [
        NetworkRound(Point(1, ONE, 4.0), 20, 0),
        NetworkRound(Point(0, ONE, 8.0), 20, 0),
        NetworkRound(point, 22, 0),
        NetworkRound(point, 20, 1),
    ]
    assert len({each.key for each in [base, *others]}) == 5
    assert base.key == NetworkRound(Point(0, ONE, 4.0), 20, 0).key


def trial(point, P, N, jammed):
    return [{"point": point, "P": P, "N": N, "jammed": j} for j in jammed]


def test_a_threshold_counts_the_networks_of_its_own_point_by_their_load():
    study = CriticalLoad([ONE], seeds=4, ratios=(0.5, 8))
    here = trial(0, 88, 44, [True, True, False, True]) + trial(0, 44, 44, [False] * 4)
    other = trial(1, 88, 88, [True] * 40)
    with_others = study.threshold(study.points[0], here + other).estimate()
    assert with_others == study.threshold(study.points[0], here[::-1]).estimate()
    assert with_others != study.threshold(study.points[1], here + other).estimate()
    r_c = math.exp(with_others.log_place)
    assert 1 < r_c < 2


def test_loads_are_even_so_that_labels_are_balanced_and_seeds_are_new_in_each_round():
    study, runs, seen = CriticalLoad([ONE], seeds=2, rounds=4, error=1e-6, seed=10), [], []
    while (each := study.next(runs)) is not None:
        seen.append((each.point.index, each.seed))
        assert each.samples % 2 == 0 and each.samples >= 2
        runs += trial(each.point.index, each.samples, each.point.N, [True, False])
    assert sorted(seen) == [(k, 10 + j) for k in (0, 1) for j in range(4)]


def test_the_load_and_size_of_a_ratio():
    load = CriticalLoad([ONE], ratios=(1, 4))
    assert load.place(load.points[1], 2.5) == (88, 220)
    assert list(load.largest()) == [(ONE, 176), (ONE, 352)]
    width = CriticalWidth([ONE], [44, 60])
    assert width.ratios == [(0.5, 1.0), (60 / 88, 60 / 44)]
    N, P = width.place(width.points[1], 0.75)
    assert (N, P) == (80, 60)


def test_in_width_the_round_has_the_width_nearest_to_the_size_and_the_given_load():
    study = CriticalWidth([ONE], [60])
    each = study._round(study.points[0], 60 / 66, seed=3)
    assert (each.samples, each.seed, each.point.width) == (60, 3, 6.0)  # 11 h weights
    assert each.point.index == 0
    ends = [study._round(study.points[0], r, 0).point.width for r in study.ratios[0]]
    assert ends == [8.0, 4.0]


def test_a_point_that_is_known_well_enough_gets_no_more():
    study = CriticalLoad([ONE], seeds=100, error=0.2, ratios=(1, 4))
    sharp = [
        trial(k, round(r * N), N, [r > 2] * 100)
        for k, N in enumerate((44, 88))
        for r in (1.5, 1.9, 2.1, 2.5)
    ]
    assert study.next([run for runs in sharp for run in runs]) is None
    one_is_missing = [run for runs in sharp[:4] for run in runs]
    assert study.next(one_is_missing).point.index == 1


def test_the_nearest_width_is_that_in_the_logarithm_of_the_size():
    family = Family(2, DATA, [3.0, 9.0])
    for h in np.arange(3, 9.5, 0.5):
        assert family.width_of(family.size(h)) == h
    assert family.width_of(1) == 3.0 and family.width_of(1e9) == 9.0
