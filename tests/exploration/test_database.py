"""The database: growth, coverage, resumption, and files that others read."""

import math

import numpy as np
import pytest
import torch

from lightning_landscape.data import XOR
from lightning_landscape.energies import (
    FullyConnected,
    LennardJones,
    NetworkEnergy,
    SixHumpCamel,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.exploration import (
    Database,
    Explorer,
    Identity,
    Landscape,
    chao,
    good_turing,
    quench,
)
from lightning_landscape.exploration.formats import (
    read_pathsample,
    read_pele,
    read_topsearch,
    to_networkx,
    write_pathsample,
    write_pele,
    write_topsearch,
)
from lightning_landscape.theory.landscapes import (
    embedding_spectrum,
    first_passage_times,
    graph_transformation,
    rate_matrix,
)
from lightning_landscape.theory.landscapes.rates import Network


def explorer(**options):
    settings = {"width": 1.5, "max_step": 0.2, "batch": 10, **options}
    return Explorer(Landscape(SixHumpCamel(dtype="float64")), **settings)


@pytest.fixture(scope="module")
def cluster():
    """Seven Lennard-Jones atoms, 4 minima and 11 transition states."""
    landscape = Landscape(LennardJones(7, dtype="float64"))
    return Explorer(landscape, least_binding=0.5).run(40, 160).sorted()


def equal(one, other):
    return one.to_dataset().drop_attrs().identical(other.to_dataset().drop_attrs())


# growth


def test_the_same_point_is_counted_and_another_is_kept():
    database, spectrum = Database.empty(2, 2), np.array([1.0, 2.0])
    x = np.zeros(2)
    assert database.add_minimum(1.0, x, spectrum) == 0
    assert database.add_minimum(1.0 + 1e-9, x + 1, spectrum * (1 + 1e-5)) == 0  # a copy
    assert database.add_minimum(1.0, x, np.array([1.0, 2.1])) == 1
    assert database.add_minimum(1.0 + 1e-6, x, spectrum) == 2
    assert database.add_minimum(1.0, x, spectrum, seen=0) == 0
    assert database.minima.seen.tolist() == [2, 1, 1]
    database = Database.empty(2, 2, Identity(distance=0.1))
    assert [database.add_minimum(1.0, x + s, spectrum) for s in (0, 1, 0.05)] == [0, 1, 0]


def test_the_unknown_ends_of_a_transition_state_can_be_learnt_later():
    database, x, spectrum = Database.empty(2, 2), np.zeros(2), np.array([-1.0, 2.0])
    for ends in ((-1, -1), (0, 1), (-1, -1)):
        assert database.add_transition_state(3.0, x, spectrum, x, ends) == 0
    assert database.transition_states.ends.tolist() == [[0, 1]]
    assert database.transition_states.seen.tolist() == [3]


def test_coverage_of_a_uniform_draw():
    """Good-Turing is unbiased for the mass of what has been seen; Chao bounds the number."""
    rng = np.random.default_rng(0)
    error, bounds = [], []
    for _ in range(400):
        seen = np.bincount(rng.integers(50, size=60), minlength=50)
        error.append(good_turing(seen) - (seen > 0).mean())
        bounds.append(chao(seen))
    assert abs(np.mean(error)) < 4 * np.std(error) / 20 + 0.01  # its bias is below 1/60
    assert 45 < np.mean(bounds) < 55
    assert good_turing([1, 1, 2]) == 0.5 and chao([1, 1, 2]) == 3.5
    with pytest.raises(UsageError, match="seen"):
        good_turing([])


# resumption


def test_an_exploration_resumes_where_its_record_ends(tmp_path):
    whole = explorer().run(20, 30)
    path, rounds = tmp_path / "explored.nc", []
    explorer().run(20, 10, after_round=lambda d: (d.write(path), rounds.append(d.searches)))
    assert rounds == [0, 0, 10]
    resumed = explorer().run(20, 30, Database.read(path))
    assert equal(whole, resumed) and resumed.searches == 30
    assert resumed.gradients == whole.gradients and resumed.hessians == whole.hessians
    assert not equal(whole, explorer(seed=1).run(20, 30))


def test_a_record_gives_the_same_database(tmp_path, cluster):
    cluster.attributes["energy"] = "LennardJones"
    cluster.write(tmp_path / "lj7.nc")
    again = Database.read(tmp_path / "lj7.nc")
    assert equal(again, cluster) and again.attributes == cluster.attributes
    assert again.seconds == cluster.seconds and again.quenches == 40
    other = cluster.to_dataset().assign_attrs(probe="Energy")
    with pytest.raises(UsageError, match="Exploration"):
        Database.from_dataset(other)


def test_what_is_sorted_keeps_its_ends():
    found = explorer().run(20, 30)
    by_energy = found.sorted()
    assert (np.diff(by_energy.minima.energy) > 0).all()
    for before, after in zip((found, found), (by_energy, by_energy.sorted()), strict=True):
        pairs = [
            {
                (E, *sorted(d.minima.energy[pair]))
                for E, pair in zip(
                    d.transition_states.energy, d.transition_states.ends, strict=True
                )
            }
            for d in (before, after)
        ]
        assert pairs[0] == pairs[1]


# files


def same_but_spectra(one, other):
    for points, theirs in (
        (one.minima, other.minima),
        (one.transition_states, other.transition_states),
    ):
        for name in ("energy", "x", "order", "ends"):
            assert np.array_equal(getattr(points, name), getattr(theirs, name))
        assert theirs.log_product == pytest.approx(points.log_product, rel=1e-13)


def test_pathsample_files_come_back_bit_for_bit(tmp_path, cluster):
    write_pathsample(cluster, tmp_path)
    again = read_pathsample(tmp_path)
    same_but_spectra(cluster, again)
    first = (tmp_path / "min.data").read_text().splitlines()[0].split()
    assert float(first[0]) == cluster.minima.energy[0] and first[2] == "20"
    # a pentagonal bipyramid is a symmetric top
    moments = [float(m) for m in first[3:]]
    assert min(abs(moments[1] - moments[0]), abs(moments[2] - moments[1])) < 1e-6
    assert (tmp_path / "points.ts").stat().st_size == 11 * 21 * 8


def test_other_files_of_the_same_names_are_refused(tmp_path, cluster):
    with pytest.raises(UsageError, match=r"min\.data"):
        read_pathsample(tmp_path)
    write_pathsample(cluster, tmp_path)
    (tmp_path / "min.data").write_text("0 -16.5\n1 -15.9\n")
    with pytest.raises(UsageError, match="columns"):
        read_pathsample(tmp_path)


def test_pele_files_come_back_bit_for_bit(tmp_path, cluster):
    path = tmp_path / "lj7.sqlite"
    write_pele(cluster, path)
    with pytest.raises(UsageError, match="trusted"):
        read_pele(path)
    again = read_pele(path, trusted=True)
    same_but_spectra(cluster, again)
    assert np.array_equal(again.transition_states.mode, cluster.transition_states.mode)
    lowest = again.transition_states.spectrum[:, 0]
    assert np.array_equal(lowest, cluster.transition_states.spectrum[:, 0])


def test_pele_opens_the_file(tmp_path, cluster):
    storage = pytest.importorskip("pele.storage", exc_type=ImportError)
    write_pele(cluster, tmp_path / "lj7.sqlite")
    theirs = storage.Database(str(tmp_path / "lj7.sqlite"))
    assert [m.energy for m in theirs.minima()] == cluster.minima.energy.tolist()
    assert theirs.number_of_transition_states() == 11


def test_a_graph_has_an_edge_for_each_transition_state(cluster):
    networkx = pytest.importorskip("networkx")
    graph = to_networkx(cluster)
    assert graph.number_of_nodes() == 4 and graph.number_of_edges() == 11
    assert networkx.number_of_selfloops(graph) == 5
    assert networkx.is_connected(graph)
    assert graph.nodes[0]["energy"] == cluster.minima.energy[0]


# with theory


def test_first_passage_from_the_highest_to_the_lowest_minimum_of_seven_atoms(cluster):
    """Of transition-state theory; and of the same arithmetic with one more factor.

    Counted in with the unstable mode the products have the dimension of a frequency too much, but
    this number was computed independently.
    """
    minima, states = cluster.minima, cluster.transition_states
    with_unstable = np.log(np.abs(states.spectrum)).sum(1)
    for log_product, expected in ((states.log_product, 53.81127), (with_unstable, 160.8351)):
        wells = minima.energy, minima.log_product, minima.order
        network = Network(*wells, states.energy, log_product, states.order, states.ends)
        k = rate_matrix(network, temperature=0.1)
        solved = first_passage_times(k, [0])[3]
        assert solved == pytest.approx(expected, rel=1e-5)
        assert graph_transformation(k, 3, [0]) == pytest.approx(solved, rel=1e-8)


def xor(hidden):
    net = FullyConnected([2, hidden, 2], "tanh", dtype="float64")
    return WithL2(NetworkEnergy(net, XOR()), 1e-3)


def widened(theta, hidden):
    """Add a hidden unit with zero weights to (W1, W2, b1, b2) of a network 2-h-2."""
    W1, W2, b1, b2 = theta.split([2 * hidden, 2 * hidden, hidden, 2])
    W2 = torch.cat([W2.view(2, hidden), torch.zeros(2, 1).double()], dim=1).flatten()
    zeros = torch.zeros(2).double()
    return torch.cat([W1, zeros, W2, b1, zeros[:1], b2])


def test_minima_of_a_network_are_saddles_of_a_wider_one_with_the_exact_spectrum():
    narrow, wide = xor(2), xor(3)
    landscape = Landscape(narrow)
    end = quench(landscape, landscape.starts(0, 0, 6, 2.0), 1.0, tolerance=1e-12)
    for theta in end.x:
        x = widened(theta, 2)[None]
        g = Landscape(wide).value_and_gradient(x)[1]
        assert g.norm() < 1e-10
        narrow.load_configuration(theta[None])
        f = narrow.energy.architecture(narrow.energy.inputs[None])[0].detach()
        slope = f.softmax(1) - narrow.energy.targets
        inputs = torch.cat([narrow.energy.inputs, torch.ones(4, 1).double()], dim=1)
        C = slope.T @ inputs / 4
        old = landscape.spectrum(theta[None])[0]
        new = Landscape(wide).spectrum(x)[0]
        expected = embedding_spectrum(old, C, penalty=1e-3)
        assert new.numpy() == pytest.approx(expected, abs=1e-12)
        assert math.isclose(new[0].item(), expected[0], abs_tol=1e-12) and new[0] < 0


def test_the_files_of_topsearch_give_the_same_energies_points_and_ends(tmp_path, cluster):
    write_topsearch(cluster, tmp_path)
    assert (tmp_path / "min.data").read_text().splitlines()[0].split()[0] == "0"
    back = read_topsearch(tmp_path)
    for kind, order in (("minima", 1), ("transition_states", -1)):
        ours, theirs = getattr(cluster, kind), getattr(back, kind)
        for name in ("energy", "x", "ends"):
            assert np.array_equal(getattr(ours, name)[::order], getattr(theirs, name))
    pairs = {tuple(pair) for pair in cluster.transition_states.ends.tolist()}
    assert len((tmp_path / "pairlist").read_text().splitlines()) == len(pairs)
    with pytest.raises(UsageError, match="6 columns"):
        read_pathsample_of(tmp_path)
    (tmp_path / "ts.coords").write_text("1.0 2.0\n")
    with pytest.raises(UsageError, match=r"ts.coords"):
        read_topsearch(tmp_path)
    (tmp_path / "min.data").write_text("0 1.0 2.0\n")
    with pytest.raises(UsageError, match="2 columns"):
        read_topsearch(tmp_path)
    (tmp_path / "min.data").unlink()
    with pytest.raises(UsageError, match=r"no file min.data"):
        read_topsearch(tmp_path)


def test_topsearch_reads_our_files_and_we_read_its(tmp_path, cluster, monkeypatch):
    """It has one transition state for each pair of minima, and writes five decimals."""
    name = "topsearch.data.kinetic_transition_network"
    network = pytest.importorskip(name, exc_type=ImportError).KineticTransitionNetwork()
    write_topsearch(cluster, tmp_path)
    network.read_network(f"{tmp_path}/")
    assert [network.get_minimum_energy(k) for k in range(4)] == cluster.minima.energy.tolist()
    lowest = {}
    states = cluster.transition_states
    for pair, energy in zip(states.ends.tolist(), states.energy.tolist(), strict=True):
        lowest.setdefault(tuple(sorted(pair)), energy)
    assert len(lowest) < 11 and network.G.number_of_edges() == len(lowest)
    assert all(network.get_ts_energy(*pair) == energy for pair, energy in lowest.items())
    (tmp_path / "theirs").mkdir()
    monkeypatch.chdir(tmp_path / "theirs")
    network.dump_network()
    back = read_topsearch(".")
    assert back.minima.energy == pytest.approx(cluster.minima.energy, abs=6e-6)
    assert np.array_equal(back.minima.x, cluster.minima.x)
    pairs = [tuple(sorted(pair)) for pair in back.transition_states.ends.tolist()]
    found = dict(zip(pairs, back.transition_states.energy.tolist(), strict=True))
    assert found == pytest.approx(lowest, abs=6e-6)


def read_pathsample_of(folder):
    """Read files of the same names as PATHSAMPLE's."""
    for name in ("points.min", "points.ts"):
        (folder / name).write_bytes(b"")
    return read_pathsample(folder)


def test_saddles_of_any_index_are_counted_written_and_sorted(tmp_path):
    found = explorer(relaxation=0).run(5, 0, descents=30).sorted()
    assert found.descents == 30 and (np.diff(found.saddles.energy) >= 0).all()
    assert found.saddles.seen.sum() + found.quasi <= 30 and len(found.saddles) >= 3
    index = {int((row < 0).sum()) for row in found.saddles.spectrum}
    assert index >= {0, 1}  # of every index
    found.write(tmp_path / "saddles.nc")
    assert equal(found, Database.read(tmp_path / "saddles.nc"))
    half = explorer(relaxation=0).run(5, 0, descents=10)
    assert equal(explorer(relaxation=0).run(5, 0, half, descents=30).sorted(), found)
