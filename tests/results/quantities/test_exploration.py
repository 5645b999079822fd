"""Table and disconnectivity graph of an exploration."""

from itertools import combinations

import numpy as np
import pytest

from lightning_landscape.exploration import Database
from lightning_landscape.results.figures import draw
from lightning_landscape.results.quantities.exploration.coverage import rarefied
from lightning_landscape.results.quantities.exploration.landscapes import side_by_side
from lightning_landscape.results.quantities.exploration.tree import leaf_order
from lightning_landscape.results.registry import look_up
from lightning_landscape.theory.landscapes import merge_tree


def database():
    """Three minima in a chain, seen 3, 1 and 0 times."""
    found = Database.empty(N=2, modes=2)
    well, saddle, x = np.array([1.0, 2.0]), np.array([-1.0, 2.0]), np.zeros(2)
    for energy, seen in ((0.0, 1), (1.0, 1), (0.5, 0), (0.0, 1), (0.0, 1)):
        found.add_minimum(energy, x, well, seen=seen)
    found.add_transition_state(3.0, x, saddle, x, (0, 1))
    found.add_transition_state(2.0, x, saddle, x, (1, 2))
    found.quenches, found.gradients = 4, 123
    found.attributes = {"energy": "Closure", "N": 2}
    return found


def test_the_rows():
    rows = {
        row.quantity: row.measured for row in look_up("Exploration").rows(database().to_dataset())
    }
    assert rows["minima"] == 3 and rows["transition states"] == 2
    assert rows["minima seen once"] == 1 and rows["Good-Turing coverage"] == 0.75
    assert rows["gradients"] == 123 and rows["lowest energy"] == 0


def test_the_exact_means_of_a_glass_stand_beside_the_counts():
    found = database()
    found.attributes |= {"theory": "pspin", "mixture": '{"3": 0.5}', "N": 3}
    result = look_up("Exploration")
    rows = {row.quantity: row.exact for row in result.rows(result.exact(found.to_dataset()))}
    assert rows["minima"] == pytest.approx(3.139, abs=0.03)
    assert rows["transition states"] == pytest.approx(4.275, abs=0.05)


def test_published_numbers_of_seven_atoms_stand_beside_the_counts():
    rows = {row.quantity: row for row in look_up("Exploration").rows(seven_atoms())}
    assert (rows["minima"].measured, rows["minima"].exact) == (4, 4)
    assert (rows["transition states"].measured, rows["transition states"].exact) == (3, 12)
    assert rows["lowest energy"].measured == rows["lowest energy"].exact == -16.505384
    assert "2002" in rows["transition states"].source and rows["heat capacity: T of its peak"]


def test_several_landscapes_are_drawn_beside_each_other():
    parts = []
    for of, lift in (("N = 2, λ = 1", 0.0), ("N = 2, λ = 2", 5.0)):
        found = database()
        found.attributes |= {"of": of, "config": "", "energy": f"Closure, {of}"}
        part = found.to_dataset()
        part["minimum_energy"] += lift
        parts.append(part)
    both = side_by_side(parts)
    assert both["minimum_landscape"].values.tolist() == [0, 0, 0, 1, 1, 1]
    assert both["minimum_energy"].values.tolist() == [0.0, 1.0, 0.5, 5.0, 6.0, 5.5]
    axes = draw(both).axes[0]
    lines = [segment for c in axes.collections[:1] for segment in c.get_segments()]
    assert sorted(segment[0, 0] for segment in lines) == [0.0, 0.5, 1.0, 5.0, 5.5, 6.0]
    assert [text.get_text() for text in axes.texts] == ["N = 2\nλ = 1", "N = 2\nλ = 2"]


def test_the_lowest_minimum_stands_in_the_middle():
    energies, levels = [0.0, 1.0, 2.0, 3.0, 4.0], [10.0, 11.0, 12.0, 13.0]
    order = leaf_order(merge_tree(energies, levels, [[0, 1], [0, 2], [0, 3], [0, 4]]))
    assert sorted(order) == [0, 1, 2, 3, 4] and order[2] == 0


def test_the_tree_begins_at_the_minima_and_joins_at_the_barriers():
    axes = draw(database().to_dataset()).axes[0]
    lines = [line.get_xydata() for line in axes.lines]
    upright = {(line[0, 1], line[1, 1]) for line in lines if line[0, 0] == line[1, 0]}
    assert upright == {(0.0, 3.0), (1.0, 2.0), (0.5, 2.0), (2.0, 3.0), (3.0, 3.15)}
    unconnected = Database.empty(N=2, modes=2)
    unconnected.attributes = {"energy": "Closure", "N": 2}
    assert draw(unconnected.to_dataset()) is None


def seven_atoms():
    """The four minima of seven Lennard-Jones atoms, with spectra of the right products."""
    found = Database.empty(N=21, modes=15)
    energies = -16.505384, -15.935043, -15.593211, -15.533060
    products, orders = (69.947643, 69.226809, 67.520271, 67.481655), (20, 6, 6, 2)
    for E, L, h in zip(energies, products, orders, strict=True):
        found.add_minimum(E, np.zeros(21), np.full(15, np.exp(L / 15)), h, seen=2)
    saddle = np.append(-1.0, np.ones(14))
    for E, ends in ((-15.444734, (1, 0)), (-15.319864, (1, 2)), (-15.283421, (3, 1))):
        found.add_transition_state(E, np.zeros(21), saddle, np.zeros(21), ends)
    found.attributes = {"energy": "LennardJones", "N": 21}
    return found.to_dataset()


def test_the_heat_capacity_of_seven_atoms_has_its_known_peak():
    rows = {row.quantity: row.measured for row in look_up("Exploration").rows(seven_atoms())}
    assert rows["heat capacity: T of its peak"] == pytest.approx(0.1860, abs=2e-4)
    assert rows["heat capacity: peak above κ/2"] == pytest.approx(4.226, abs=2e-3)
    barrier = rows["barrier between the two lowest minima"]
    assert barrier == pytest.approx(16.505384 - 15.444734)


def test_the_panels_of_a_connected_landscape():
    tree, heat, path, times, coverage = draw(seven_atoms()).axes
    assert heat.lines[0].get_ydata()[[0, -1]] == pytest.approx(0.5, abs=2e-3)
    heights = {round(float(y), 6) for line in path.lines[-2:] for y in line.get_ydata()}
    assert heights == {-16.505384, -15.935043, -15.444734}
    inverse, passage = times.lines[0].get_data()
    slope = np.diff(np.log(passage))[0] / np.diff(inverse)[0]  # where it is coldest
    assert slope == pytest.approx(15.935043 - 15.444734, rel=0.03)  # the law of Arrhenius
    assert coverage.get_ylabel() == "different points" and tree.get_ylabel() == "energy"


def test_branches_have_the_colour_of_the_test_loss():
    dataset = database().to_dataset()
    coloured = dataset.assign(minimum_test_energy=("minimum", [0.1, 0.9, 0.5]))
    lines = draw(coloured).axes[0].lines
    colours = {tuple(np.round(line.get_color(), 3)) for line in lines}
    # three minima, and the means 0.7 and 0.5 of what lies below the two mergers
    assert len(colours) == 4


def test_the_rarefied_number_of_points_is_a_mean_over_subsets():
    seen = [3, 2, 1, 1, 0]
    searches = [point for point, times in enumerate(seen) for _ in range(times)]
    for n in range(1, 8):
        subsets = list(combinations(searches, n))
        mean = sum(len(set(subset)) for subset in subsets) / len(subsets)
        assert rarefied(seen, [n])[0] == pytest.approx(mean, rel=1e-12)
