"""Saddles of any index, with and without Hessians, and the numbers of the Kac-Rice formula."""

import numpy as np
import pytest
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics.saddles.ends import Kind
from lightning_landscape.energies import (
    FullyConnected,
    LennardJones,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.exploration import (
    Explorer,
    Landscape,
    basin_hopping,
    descend_squared_gradient,
    levenberg_marquardt,
    newton,
    newton_krylov,
)
from lightning_landscape.studies.hessian_free.methods import METHODS, System
from lightning_landscape.theory.landscapes import index_fraction, mean_by_index

METHODS_OF_ONE_LANDSCAPE = (descend_squared_gradient, levenberg_marquardt, newton_krylov)


def glass(N, seed=1):
    return Landscape(SphericalPSpin(N, seed=seed, dtype="float64"))


def relaxed(landscape, number, steps=40, rate=0.02):
    x = landscape.starts(0, 0, number)
    for _ in range(steps):
        x = landscape.retract(x - rate * landscape.value_and_gradient(x)[1])
    return x


@pytest.mark.parametrize("search", METHODS_OF_ONE_LANDSCAPE)
def test_every_method_ends_in_stationary_points_and_counts_what_it_costs(search):
    landscape = glass(16)
    x = relaxed(landscape, 12, steps=10)
    landscape.gradients = landscape.hessians = 0
    end = search(landscape, x)
    # on the sphere a Hessian takes a gradient for its multiplier
    assert int(end.gradients.sum() + end.hessians.sum()) == landscape.gradients
    assert int(end.hessians.sum()) == landscape.hessians
    E, g = landscape.value_and_gradient(end.x)
    assert end.converged.sum() >= 4
    assert (g[end.converged].square().sum(1) < 1e-12 * 16).all()
    assert (g[end.kind == Kind.QUASI].square().sum(1) > 1e-11 * 16).all()
    torch.testing.assert_close(E, end.energy)
    index = (landscape.spectrum(end.x[end.converged]) < 0).sum(1)
    assert len(index.unique()) >= 2
    # they are among all that Newton's method finds
    known = newton(landscape, end.x[end.converged])
    assert (known.x - end.x[end.converged]).norm(dim=1).max() < 1e-3


@pytest.mark.parametrize("search", METHODS_OF_ONE_LANDSCAPE)
def test_a_quadratic_saddle_is_found_from_anywhere(search):
    landscape = Landscape(Quadratic([-2.0, -0.1, 1.0, 5.0], dtype="float64"))
    end = search(landscape, 3 * torch.ones(2, 4, dtype=torch.float64))
    assert end.converged.all() and end.x.abs().max() < 1e-4


def test_without_steps_nothing_has_ended():
    landscape = glass(8)
    for search in METHODS_OF_ONE_LANDSCAPE:
        with pytest.raises(UsageError, match="steps"):
            search(landscape, landscape.starts(0, 0, 1), steps=0)
        with pytest.raises(UsageError, match="max_step"):
            search(landscape, landscape.starts(0, 0, 1), max_step=0.0)
        end = search(landscape, landscape.starts(0, 0, 2), steps=1)
        assert end.kind.tolist() == [Kind.MOVING] * 2 and not end.converged.any()


def test_saddles_of_sixty_spins_obey_the_index_law():
    """At least 15 of 32 true, at most 1300 gradients each, all starts charged; none is a quasi."""
    landscape = glass(60)
    end = descend_squared_gradient(landscape, relaxed(landscape, 32))
    good = end.converged
    assert good.sum() >= 15 and not (end.kind == Kind.MOVING).any()
    assert end.gradients.sum() <= 1300 * good.sum()
    spectrum = landscape.spectrum(end.x[good])
    assert landscape.value_and_gradient(end.x[good])[1].square().sum(1).max() < 60e-12
    assert spectrum.abs().amin() > 1e-3  # a quasi-saddle has a null vector
    deviation = (spectrum < 0).double().mean(1).numpy() - index_fraction(3, end.energy[good] / 60)
    assert np.sqrt(np.mean(deviation**2)) < 0.02
    assert (landscape.spectrum(end.x[end.kind == Kind.QUASI]).abs().amin(1) < 1e-2).all()


@pytest.mark.parametrize("samples", [3, pytest.param(14, marks=pytest.mark.slow)])
def test_the_numbers_of_minima_and_transition_states_are_those_of_kac_rice(samples):
    """N = 20. Samples scatter by about 1.7 and 5. Kicks as long as x itself reach all of them."""
    mean, _ = mean_by_index(3, 20, samples=4000)
    quenches, searches = (300, 768) if samples > 3 else (100, 300)
    found = [Explorer(glass(20, seed), kick=1.0, max_step=0.5).run(quenches, searches)
             for seed in range(samples)]  # fmt: skip
    for k, kind, scatter in ((0, "minima", 1.7), (1, "transition_states", 5.0)):
        counts = [len(getattr(database, kind)) for database in found]
        assert abs(np.mean(counts) - mean[k]) < 3 * scatter / samples**0.5


@pytest.mark.slow
def test_nine_atoms_have_21_minima_and_165_transition_states():
    landscape = Landscape(LennardJones(9, dtype="float64"))
    found = Explorer(landscape, kick=0.3, least_binding=0.5, batch=250).run(1500, 8000)
    assert len(found.minima) == 21 and 160 <= len(found.transition_states) <= 165


def test_thirteen_atoms_find_the_icosahedron():
    """And know its symmetry: 120 rotations and reflections."""
    energy = LennardJones(13, dtype="float64")
    landscape = Landscape(energy)
    lowest = basin_hopping(landscape, landscape.starts(1, 0, 12, 1.2), hops=8, kick=0.3)
    best = int(lowest.energy.argmin())
    assert lowest.energy[best].item() == pytest.approx(-44.326801, abs=1e-6)
    assert energy.symmetry_order(lowest.x[best : best + 1]).tolist() == [120]


def network(hidden, samples, dimension=4):
    data = RandomData(samples, dimension=dimension)
    net = FullyConnected([dimension, hidden, 1], "tanh", dtype="float64")
    return WithL2(NetworkEnergy(net, data), 1e-3)


@pytest.mark.parametrize(
    ("energy", "starts", "batch_size", "updates", "at_least"),
    [
        (network(3, 60, dimension=2), 8, 20, 150, 1),
        pytest.param(network(10, 400), 16, 40, 1000, 6, marks=pytest.mark.slow),
    ],
)
def test_two_batches_and_a_polish_find_saddles_of_a_network(
    energy, starts, batch_size, updates, at_least
):
    options = {"width": 0.7, "relaxation": 0, "max_step": 1.0, "quasi": 1e-5, "lr": 0.2}
    system = System("network", energy, batch_size=batch_size, updates=updates, **options)
    landscape = Landscape(energy)
    x = system.starts(landscape, 0, 0, starts)
    end = METHODS["two batches, then squared gradient"](landscape, x, system)
    assert end.converged.sum() >= at_least
    assert landscape.value_and_gradient(end.x[end.converged])[1].norm(dim=1).max() < 1e-5
    assert end.gradients.min() >= 3 * updates * batch_size / energy.samples
