"""Table and disconnectivity graph of an exploration."""

import numpy as np
import pytest

from lightning_landscape.exploration import Database
from lightning_landscape.results.figures import draw
from lightning_landscape.results.quantities.exploration import leaf_order
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


def test_the_lowest_minimum_stands_in_the_middle():
    energies, levels = [0.0, 1.0, 2.0, 3.0, 4.0], [10.0, 11.0, 12.0, 13.0]
    order = leaf_order(merge_tree(energies, levels, [[0, 1], [0, 2], [0, 3], [0, 4]]))
    assert sorted(order) == [0, 1, 2, 3, 4] and order[2] == 0


def test_the_tree_begins_at_the_minima_and_joins_at_the_barriers():
    (axes,) = draw(database().to_dataset()).axes
    lines = [line.get_xydata() for line in axes.lines]
    upright = {(line[0, 1], line[1, 1]) for line in lines if line[0, 0] == line[1, 0]}
    assert upright == {(0.0, 3.0), (1.0, 2.0), (0.5, 2.0), (2.0, 3.0), (3.0, 3.15)}
    unconnected = Database.empty(N=2, modes=2)
    unconnected.attributes = {"energy": "Closure", "N": 2}
    assert draw(unconnected.to_dataset()) is None
