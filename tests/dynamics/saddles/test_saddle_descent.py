"""Descent of the squared gradient: its gradient, its ends, its life in the slot of an optimizer."""

import math

import pytest
import torch

from lightning_landscape.dynamics import SaddleDescent, constrain
from lightning_landscape.dynamics.saddles.ends import Ends, Kind
from lightning_landscape.dynamics.saddles.squared_gradient import squared_gradient
from lightning_landscape.energies import Quadratic, SixHumpCamel, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.exploration import Landscape, descend_squared_gradient


def glass(N=20, replicas=8):
    return SphericalPSpin(N, replicas=replicas, seed=3, dtype="float64")


def closure(energy, optimizer):
    def energies():
        optimizer.zero_grad()
        E = energy()
        E.sum().backward()
        return E.detach()

    return energies


def descend(energy, steps, optimizer=None, **options):
    optimizer = optimizer or constrain(
        SaddleDescent(energy.parameters(), **options), energy.constraint
    )
    for _ in range(steps):
        optimizer.step(closure(energy, optimizer))
        if (optimizer.kind != Kind.MOVING).all():
            break
    return optimizer


@pytest.mark.parametrize("energy", [glass(9), SixHumpCamel(4, dtype="float64")])
def test_the_gradient_of_w_is_the_hessian_times_the_gradient(energy):
    """In the tangent space of the sphere, where the multiplier counts."""
    landscape = Landscape(energy)
    x = energy.configuration()
    E, W, Hg = squared_gradient(landscape.value_and_gradient, x, energy.constraint)
    g = landscape.value_and_gradient(x)[1]
    H = landscape.hessian(x)  # radial direction shifted, but g is tangent
    torch.testing.assert_close(Hg, (H @ g.unsqueeze(2)).squeeze(2), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(W, g.square().sum(1) / 2)
    torch.testing.assert_close(E, energy().detach())


def test_every_quadratic_saddle_attracts():
    """Indices 0 to 3, one starting point: W = |H x|^2 / 2 is convex for all."""
    for index in range(4):
        l = [-1.0] * index + [0.5] * (3 - index)
        energy = Quadratic(l, dtype="float64")
        energy.load_configuration(torch.ones(1, 3))
        assert descend(energy, 40).kind.tolist() == [Kind.STATIONARY]
        assert energy.configuration().abs().max() < 1e-6


def test_it_stays_on_the_sphere_and_ends_in_stationary_points_of_many_indices():
    energy = glass(replicas=16)
    optimizer = descend(energy, 400)
    x, landscape = energy.configuration(), Landscape(energy)
    assert (x.square().sum(1) - 20).abs().max() < 1e-10
    good = optimizer.kind == Kind.STATIONARY
    g = landscape.value_and_gradient(x)[1]
    assert good.sum() >= 6 and (optimizer.kind != Kind.MOVING).all()
    assert (g[good].square().sum(1) < 1e-12 * 20).all()
    index = (landscape.spectrum(x[good]) < 0).sum(1)
    assert len(index.unique()) >= 4 and index.max() > 3


def test_a_quasi_saddle_is_stopped_early_and_is_one():
    """|g| stays, H g vanishes: the Hessian has a null vector along the gradient."""
    energy = glass(replicas=16)
    start = energy.configuration()
    landscape = Landscape(energy)
    end = descend_squared_gradient(landscape, start)
    quasi = end.kind == Kind.QUASI
    assert quasi.any() and (end.kind != Kind.MOVING).all()
    g = landscape.value_and_gradient(end.x[quasi])[1]
    assert (g.square().sum(1) / 20 > 1e-10).all()
    assert (landscape.spectrum(end.x[quasi]).abs().amin(1) < 2e-2).all()
    assert end.gradients[quasi].max() < 1500
    on = descend_squared_gradient(landscape, start[quasi], quasi=0.0, steps=400)
    assert not on.converged.any()  # it would not have gone on to one


def test_a_stationary_point_with_a_soft_mode_is_no_quasi_saddle():
    """|H g|/|g| falls to the soft eigenvalue, 1e-4 of the largest, but W goes on falling."""
    energy = Quadratic([1.0, -1e-4], dtype="float64")
    energy.load_configuration(torch.tensor([[1.0, 3.0]]))
    assert descend(energy, 100).kind.tolist() == [Kind.STATIONARY]


def test_the_optimizer_goes_where_the_search_goes():
    energy, other = glass(), glass()
    optimizer = descend(energy, 150)
    end = descend_squared_gradient(Landscape(other), other.configuration(), steps=150)
    both = (optimizer.kind == Kind.STATIONARY) & end.converged
    assert both.sum() >= 3
    torch.testing.assert_close(energy.configuration()[both], end.x[both], rtol=0, atol=1e-6)


def test_it_resumes_bit_for_bit():
    whole, part, resumed = glass(), glass(), glass()
    descend(whole, 60)
    state = descend(part, 23).state_dict()
    optimizer = constrain(SaddleDescent(resumed.parameters()), resumed.constraint)
    optimizer.load_state_dict(state)
    resumed.load_configuration(part.configuration())
    descend(resumed, 37, optimizer)
    assert torch.equal(whole.configuration(), resumed.configuration())


def test_the_cost_is_three_gradients_a_step():
    energy, calls = glass(), []
    optimizer = SaddleDescent(energy.parameters(), constraint=energy.constraint)
    inner = closure(energy, optimizer)
    for expected in (6, 3, 3):
        calls.clear()
        optimizer.step(lambda: (calls.append(1), inner())[1])
        assert len(calls) == expected


def test_ends_wait_for_w_to_stall():
    ends = Ends(torch.zeros(1, dtype=torch.float64), 1e-12, quasi=0.1, window=3)
    W, steep, flat = torch.ones(1).double(), torch.ones(1, 4).double(), torch.zeros(1, 4).double()
    assert ends.judge(W, steep).all()
    assert all(ends.judge(W * 0.5**k, flat).all() for k in range(1, 9))  # W falls
    last = W * 0.5**8
    assert [bool(ends.judge(last, flat)) for _ in range(4)].count(False) >= 1
    assert ends.kind.tolist() == [Kind.QUASI]


def test_impossible_settings_are_refused():
    x = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
    wrong = {"memory": 0, "max_step": 0.0, "tolerance": 0.0, "quasi": 1.0, "max_step ": math.nan}
    for name, value in wrong.items():
        with pytest.raises(UsageError, match=name.strip()):
            SaddleDescent([x], **{name.strip(): value})
    with pytest.raises(UsageError, match="float64"):
        SaddleDescent([torch.nn.Parameter(torch.zeros(2, 3))])
    with pytest.raises(UsageError, match="closure"):
        SaddleDescent([x]).step()
    with pytest.raises(UsageError, match="replicas"):
        SaddleDescent([x, torch.nn.Parameter(torch.zeros(3, 3, dtype=torch.float64))])
    with pytest.raises(UsageError, match="steps"):
        descend_squared_gradient(Landscape(glass()), glass().configuration(), steps=0)
