"""Searches on surfaces, clusters, glasses and networks of which all stationary points are known."""

import math

import numpy as np
import pytest
import torch

from lightning_landscape.data import XOR
from lightning_landscape.energies import (
    FullyConnected,
    LennardJones,
    MuellerBrown,
    NetworkEnergy,
    Quadratic,
    SixHumpCamel,
    SphericalPSpin,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.exploration import (
    Explorer,
    Identity,
    Landscape,
    eigenvector_following,
    follow,
    hybrid_eigenvector_following,
    newton,
    quench,
)
from lightning_landscape.exploration.searches.lowest_mode import refine
from lightning_landscape.theory.landscapes import mean_by_index


def xor(hidden=2, strength=1e-3):
    net = FullyConnected([2, hidden, 2], "tanh", dtype="float64")
    return WithL2(NetworkEnergy(net, XOR()), strength)


def glass(N, seed=1, replicas=1):
    return SphericalPSpin(N, seed=seed, replicas=replicas, disorder="independent", dtype="float64")


def cluster(atoms, quenches, searches, method="auto"):
    landscape = Landscape(LennardJones(atoms, dtype="float64"))
    explorer = Explorer(landscape, least_binding=0.5, method=method)
    return explorer.run(quenches, searches).sorted()


# the landscape


@pytest.mark.parametrize("energy", [LennardJones(5, start=2.0, dtype="float64"), glass(9), xor()])
def test_the_hessian_is_the_derivative_of_the_gradient_along_the_manifold(energy):
    landscape = Landscape(energy)
    x = energy.configuration()
    v = landscape.project(landscape.starts(5, 0, 1), landscape.zero_modes(x))
    v = v / v.norm()
    g = landscape.value_and_gradient(x)[1]
    K = landscape.zero_modes(x).shape[1]
    expected = landscape.project(landscape.product(x, g, v), landscape.zero_modes(x))
    H = landscape.hessian(x)
    if isinstance(energy, LennardJones):  # away from equilibrium a rotation changes the gradient
        assert K == 6
    found = landscape.project((H @ v[0]), landscape.zero_modes(x))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
    assert landscape.spectrum(x).shape == (1, energy.N - K)
    assert landscape.gradients >= 2 and landscape.hessians == 2


def test_starts_are_functions_of_the_seed_and_their_number():
    landscape = Landscape(glass(6))
    all_, some = landscape.starts(3, 0, 10), landscape.starts(3, 4, 2)
    assert torch.equal(all_[4:6], some)
    torch.testing.assert_close(all_.square().sum(1), torch.full((10,), 6.0).double())
    assert not torch.equal(landscape.starts(4, 0, 10), all_)


def test_a_landscape_is_that_of_one_replica():
    energy = glass(8, replicas=3)
    x = energy.configuration()
    for r in range(3):
        E = Landscape(energy, replica=r).value_and_gradient(x)[0]
        assert E[r] == pytest.approx(energy()[r].item(), rel=1e-12)
    with pytest.raises(UsageError, match="replica"):
        Landscape(energy, replica=3)
    with pytest.raises(UsageError, match="float64"):
        Landscape(SixHumpCamel())


def test_the_lowest_mode_by_gradients_is_that_of_the_hessian():
    landscape = Landscape(glass(20))
    x = landscape.starts(0, 0, 4)
    g = landscape.value_and_gradient(x)[1]
    mode = refine(landscape, x, g, landscape.starts(1, 0, 4), iterations=40)
    torch.testing.assert_close(mode.value, landscape.spectrum(x)[:, 0], rtol=1e-4, atol=1e-4)
    overlap = torch.linalg.vecdot(mode.vector, landscape.lowest_mode(x)).abs()
    assert (overlap > 0.999).all() and (mode.residual < 1e-2).all()
    assert (mode.vector * x).sum(1).abs().max() < 1e-9  # tangent


# single searches


def test_eigenvector_following_goes_up_along_the_lowest_mode_only():
    """From the flank of a quadratic saddle to its centre; a bowl is left along its softest mode."""
    landscape = Landscape(Quadratic([-1.0, 2.0, 5.0], dtype="float64"))
    end = eigenvector_following(landscape, torch.ones(1, 3).double())
    assert end.converged.all() and end.x.abs().max() < 1e-8
    bowl = Landscape(Quadratic([1.0, 2.0], dtype="float64"))
    end = eigenvector_following(bowl, torch.tensor([[0.1, 0.1]]).double(), steps=20)
    assert end.x[0, 0].abs() > 1 and end.x[0, 1].abs() < 1e-6


@pytest.mark.parametrize("search", [hybrid_eigenvector_following, follow])
def test_searches_by_gradients_end_where_the_hessian_agrees(search):
    """On a glass of 20 spins: index 1 in nearly all, at 170 to 400 gradients each."""
    landscape = Landscape(glass(20))
    starts = quench(landscape, landscape.starts(0, 0, 20)).x
    kicked = landscape.retract(starts + 0.5 * landscape.starts(1, 0, 20))
    landscape.gradients = 0
    end = search(landscape, kicked, landscape.starts(2, 0, 20))
    assert landscape.gradients < 500 * 20 and landscape.hessians == 0
    spectrum = landscape.spectrum(end.x)
    index = (spectrum < 0).sum(1)
    assert end.converged.sum() >= 18 and (index[end.converged] == 1).all()
    assert landscape.value_and_gradient(end.x)[1][end.converged].norm(dim=1).max() < 1e-6
    known = eigenvector_following(landscape, kicked).energy
    assert torch.isclose(end.energy.unsqueeze(1), known, atol=1e-6).any(1).sum() >= 12


def test_a_quench_counts_its_gradients_and_leaves_the_energy_in_place():
    energy = SixHumpCamel(4, dtype="float64")
    before, landscape = energy.configuration(), Landscape(energy)
    end = quench(landscape, before)
    assert end.converged.all() and 4 * 4 < landscape.gradients < 4 * 60
    assert torch.equal(energy.configuration(), before)


# whole landscapes


def test_camel_has_six_minima_seven_saddles_and_two_maxima():
    landscape = Landscape(SixHumpCamel(dtype="float64"))
    apart = Identity(distance=1e-3)
    explorer = Explorer(landscape, width=1.5, max_step=0.2, identity=apart)
    found = explorer.run(quenches=100, searches=200)
    assert np.sort(found.minima.energy) == pytest.approx(
        np.repeat([-1.031628, -0.215464, 2.104250], 2), abs=1e-5
    )
    assert np.sort(found.transition_states.energy) == pytest.approx(
        [0, 0.543719, 0.543719, 2.229357, 2.229357, 2.229471, 2.229471], abs=1e-5
    )
    end = newton(landscape, landscape.starts(0, 0, 200, 1.5), 0.2)
    top = end.converged & (landscape.spectrum(end.x) < 0).all(1)
    maxima = {tuple(row) for row in end.x[top].mul(1e4).round().tolist()}
    assert len(maxima) == 2
    assert end.energy[top].tolist() == pytest.approx([2.496295] * int(top.sum()), abs=1e-6)


def test_mueller_brown_has_three_minima_in_a_chain():
    landscape = Landscape(MuellerBrown(dtype="float64"))
    found = Explorer(landscape, width=0.8, max_step=0.2).run(50, 100).sorted()
    assert found.minima.energy == pytest.approx([-146.69952, -108.16672, -80.76782], abs=1e-5)
    assert found.transition_states.energy == pytest.approx([-72.24894, -40.66484], abs=1e-5)
    assert [set(pair) for pair in found.transition_states.ends.tolist()] == [{1, 2}, {0, 2}]


LJ7_MINIMA = {
    "energy": [-16.505384, -15.935043, -15.593211, -15.533060],
    "order": [20, 6, 6, 2],
    "log_product": [69.947643, 69.226809, 67.520271, 67.481655],
}
# energy, order of the point group, the two minima by their rank
LJ7_TRANSITION_STATES = [
    (-15.444734, 2, {2, 1}), (-15.319864, 2, {2, 3}), (-15.283421, 1, {4, 2}),
    (-15.097846, 4, {2}), (-15.033384, 2, {3, 1}), (-15.026438, 1, {1, 4}),
    (-14.816400, 2, {4}), (-14.811130, 4, {4}), (-14.596946, 1, {4, 1}),
    (-14.568061, 4, {3}), (-14.548573, 2, {4}),
]  # fmt: skip


def test_seven_atoms_have_the_known_minima_and_transition_states():
    found = cluster(7, quenches=40, searches=160)
    for name, values in LJ7_MINIMA.items():
        assert getattr(found.minima, name) == pytest.approx(values, abs=1e-5)
    states = found.transition_states
    assert len(states) == 11
    for k, (energy, order, ends) in enumerate(LJ7_TRANSITION_STATES):
        assert states.energy[k] == pytest.approx(energy, abs=1e-5)
        assert states.order[k] == order and {*(states.ends[k] + 1).tolist()} == ends
    assert (states.spectrum[:, 0] < 0).all() and (states.spectrum[:, 1] > 0).all()


@pytest.mark.slow
def test_the_twelfth_transition_state_of_seven_atoms_takes_long_searches():
    explorer = Explorer(
        Landscape(LennardJones(7, dtype="float64")), kick=0.6, batch=250, least_binding=0.5
    )
    states = explorer.run(quenches=40, searches=1500).sorted().transition_states
    assert len(states) == 12 and states.energy[-1] == pytest.approx(-12.548940, abs=1e-5)


@pytest.mark.slow
def test_eight_atoms_have_eight_minima_and_42_transition_states():
    """Some are only 5e-5 apart in energy."""
    found = cluster(8, quenches=200, searches=1500)
    minima = [-19.821489, -19.765298, -19.189311, -19.169280,
              -18.976056, -18.856826, -18.828672, -18.778208]  # fmt: skip
    assert found.minima.energy == pytest.approx(minima, abs=1e-5)
    assert found.minima.order.tolist() == [2, 8, 4, 12, 24, 2, 2, 2]
    states = found.transition_states.energy
    assert len(states) == 42
    assert states[[0, -1]] == pytest.approx([-19.281244, -16.765799], abs=1e-5)


def test_two_hidden_units_learn_xor_in_four_minima():
    """And theta = 0 is a fifth, in a basin so small that no quench ends there.

    Its energy is ln 2. The mean of (p - y)(x, 1) vanishes on these data, so that all eigenvalues
    are the 2 lambda of the penalty, but one: the difference of the output biases adds 1/2.
    """
    explorer = Explorer(Landscape(xor()), width=2.0, kick=1.5, max_step=0.5, flat=1e-5)
    found = explorer.run(quenches=30, searches=100).sorted()
    expected = [0.083558, 0.092673, 0.399091, 0.418712, math.log(2)]
    assert found.minima.energy == pytest.approx(expected, abs=1e-6)
    assert found.minima.seen[-1] == 0 and (found.minima.seen[:4] > 1).all()
    assert found.minima.spectrum[-1] == pytest.approx([2e-3] * 11 + [0.502], abs=1e-7)
    assert found.minima.order.tolist() == [1, 1, 1, 1, 8]  # theta = 0 has no copies
    assert len(found.transition_states) >= 10 and explorer.method == "hessian"


def numbers_by_index(landscape, starts, seed=0):
    """The numbers of stationary points by index, of one sample."""
    end = newton(landscape, landscape.starts(seed, 0, starts), steps=60)
    x = end.x[end.converged]
    near = (x @ x.mT / landscape.N) > 1 - 1e-7
    first = near.double().argmax(1) == torch.arange(len(x))
    index = (landscape.spectrum(x[first]) < 0).sum(1)
    return torch.bincount(index, minlength=landscape.N)


@pytest.mark.parametrize("samples", [3, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("N", "euler"), [(3, 2), (4, 0)])
def test_small_glasses_obey_morse_in_every_sample(N, euler, samples):
    """And the mean numbers by index are those of Kac and Rice, within 3 standard errors."""
    signs = torch.tensor([(-1) ** k for k in range(N)])
    found = []
    for seed in range(samples):
        counts = numbers_by_index(Landscape(glass(N, seed)), starts=200 if N == 3 else 400)
        assert int((signs * counts).sum()) == euler
        assert torch.equal(counts, counts.flip(0))  # x and -x have opposite energies
        found.append(counts)
    if samples > 3:
        numbers = torch.stack(found).double()
        mean, error = numbers.mean(0), numbers.std(0) / samples**0.5
        expected, _ = mean_by_index(3, N, samples=100_000)
        assert (abs(mean - torch.from_numpy(expected)) < 3 * error).all()


def test_impossible_arguments_are_refused():
    landscape = Landscape(SixHumpCamel(dtype="float64"))
    x = torch.zeros(1, 2).double()
    for name, value in {
        "width": 0,
        "kick": 0,
        "max_step": 0,
        "batch": 0,
        "flat": -1,
        "least_binding": 1,
    }.items():
        with pytest.raises(UsageError, match=name):
            Explorer(landscape, **{name: value})
    with pytest.raises(UsageError, match="method"):
        Explorer(landscape, method="dimer")
    for search in (hybrid_eigenvector_following, follow):
        with pytest.raises(UsageError, match="max_step"):
            search(landscape, x, x, max_step=0)
    with pytest.raises(UsageError, match="steps"):
        eigenvector_following(landscape, x, steps=0)
