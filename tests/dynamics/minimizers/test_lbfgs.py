"""Batched L-BFGS: minima to the last digits, and those of SciPy from the same start."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize as scipy_minimize

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import DecayingAdam, minimize, minimize_lbfgs
from lightning_landscape.dynamics.minimizers import descent, memory
from lightning_landscape.dynamics.minimizers._line_search import LineSearch
from lightning_landscape.dynamics.minimizers.descent import Descent
from lightning_landscape.dynamics.minimizers.memory import Memory
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.testing.energy import gradient

SPECTRUM = np.logspace(-1, 2, 12).tolist()


def well(replicas=4):
    return Quadratic(SPECTRUM, replicas=replicas, rotate=True, dtype="float64")


def glass(replicas=6, disorder="independent"):
    return SphericalPSpin(N=24, replicas=replicas, disorder=disorder, dtype="float64")


def networks(samples=48, replicas=4):
    data = RandomData(samples, dimension=6, normalized=True)
    net = FullyConnected([6, 8, 1], "tanh", replicas, 1, dtype="float64")
    return NetworkEnergy(net, data, "quadratic_hinge")


def tangent(energy):
    g = gradient(energy)
    return g if energy.constraint is None else energy.constraint.project_(g, energy.configuration())


def by_scipy(energy, r, batch=None):
    """The minimum of one replica, in the coordinates u of x = sqrt(N) u / |u| on the sphere."""
    one, N = energy.only(torch.tensor([r])), energy.N

    def value_and_gradient(u):
        x = torch.as_tensor(u).view(1, -1)
        length = 1.0
        if one.constraint is not None:
            length = N**0.5 / x.norm()
            x = x * length
        one.load_configuration(x)
        one.zero_grad()
        value = one(batch)
        value.sum().backward()
        g = torch.cat([p.grad.flatten(1) for p in one.parameters()], dim=1)
        if one.constraint is not None:
            one.constraint.project_(g, x)
        return value.item(), (length * g)[0].numpy()

    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 0.0, "gtol": 1e-13}
    start = one.configuration()[0].numpy()
    return scipy_minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)


@pytest.mark.parametrize("make", [well, glass, networks])
def test_the_gradient_vanishes_at_energies_as_low_as_those_of_scipy(make):
    """From a start well inside a basin both find its minimum."""
    start = make()
    minimize(start, lambda p: torch.optim.SGD(p, 0.01), 300, -torch.inf)
    energy = start.only(torch.arange(start.replicas))
    end = minimize_lbfgs(energy)
    assert end.done.all() and (end.steps > 0).all()
    assert tangent(energy).norm(dim=1).max() < 1e-10
    assert torch.allclose(energy().detach(), end.energies, rtol=1e-13, atol=1e-20)
    for r in range(energy.replicas):
        assert end.energies[r].item() == pytest.approx(by_scipy(start, r).fun, abs=1e-8)


def test_replicas_in_one_sample_of_the_disorder_end_in_its_minima():
    """Far fewer energies than replicas, each a minimum on the sphere: no negative curvature."""
    energy = glass(32, "shared")
    end = minimize_lbfgs(energy)
    assert end.done.all()
    assert len(set(end.energies.mul(1e9).round().tolist())) < 20
    x = energy.configuration()
    mu = -(gradient(energy) * x).sum(1) / energy.N
    H = energy.hessian() + mu.view(-1, 1, 1) * torch.eye(energy.N)
    P = torch.eye(energy.N) - x.unsqueeze(2) * x.unsqueeze(1) / energy.N
    lowest = torch.linalg.eigvalsh(P @ H @ P)[:, 0]
    assert lowest.min() > -1e-9  # the radial direction gives the 0
    assert torch.allclose(x.square().sum(1), torch.full((32,), 24.0).double(), rtol=1e-12)


def test_a_quadratic_well_is_solved_in_about_as_many_steps_as_by_scipy():
    """To 1e-20 and below in energies of order 1."""
    energy = well()
    end = minimize_lbfgs(energy)
    assert (end.energies < 1e-22).all()
    theirs = np.mean([by_scipy(well(), r).nit for r in range(4)])
    assert end.steps.double().mean() < 1.5 * theirs


@pytest.mark.parametrize("make", [well, glass, networks])
def test_each_replica_descends_as_if_alone(make):
    together = make()
    end = minimize_lbfgs(together, steps=25)
    for r in range(3):
        alone = make().only(torch.tensor([r]))
        one = minimize_lbfgs(alone, steps=25)
        assert end.steps[r] == one.steps[0]
        assert torch.allclose(together.configuration()[r], alone.configuration()[0], atol=1e-6)


def test_converged_replicas_cost_nothing():
    evaluated = []

    class Counting(Quadratic):
        def forward(self, batch=None):
            evaluated.append(self.replicas)
            return super().forward(batch)

    energy = Counting([1.0, 30.0, 900.0], replicas=3, dtype="float64")
    x = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, -1.0, 1.0]]).double()
    energy.load_configuration(x)
    end = minimize_lbfgs(energy)
    assert end.done.all() and end.steps[0] == 0
    assert evaluated[:2] == [3, 2] and evaluated[-1] == 1
    assert end.steps[1] < end.steps[2]


def test_a_batch_of_samples_of_its_own_for_each_replica():
    energy, batch = networks(), torch.stack([torch.arange(48).roll(r)[:40] for r in range(4)])
    end = minimize_lbfgs(energy, batch=batch)
    assert torch.allclose(energy(batch).detach(), end.energies, atol=1e-20)
    assert (end.energies < 1e-20).all()  # 40 patterns fit, whichever


def test_it_ends_far_below_where_adam_stopped():
    energy = networks()
    before = minimize(energy, lambda p: DecayingAdam(p, 0.01, 200, 1e-4), 100, 0.0).energies
    assert (minimize_lbfgs(energy).energies < 1e-2 * before).all()


def test_it_stops_where_single_precision_allows_no_descent():
    """The energy is that of double precision to rounding, after a finite number of steps."""
    single = SphericalPSpin(N=24, replicas=6, disorder="independent")
    end, double = minimize_lbfgs(single, steps=100_000), minimize_lbfgs(glass())
    assert not end.done.any() and end.steps.max() < 1000
    same = (end.energies - double.energies).abs() < 1e-3
    assert same.sum() >= 5  # rounding may lead to another minimum
    assert (end.energies - double.energies)[same].abs().max() < 1e-4


def test_no_step_is_longer_than_allowed():
    energy, before = glass(), glass().configuration()
    minimize_lbfgs(energy, steps=1, max_step=0.01)
    moved = (energy.configuration() - before).norm(dim=1)
    assert (moved <= 0.01).all() and (moved > 0.009).all()


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda a: (a - 3.0) ** 2, lambda a: 2 * (a - 3.0)),
        (lambda a: (50 * a - 3.0) ** 2, lambda a: 100 * (50 * a - 3.0)),
        (lambda a: -a * torch.exp(-a / 20), lambda a: (a / 20 - 1) * torch.exp(-a / 20)),
        (lambda a: (a - 0.1).abs(), lambda a: (a - 0.1).sign()),
    ],
)
def test_the_line_search_meets_the_wolfe_conditions(function, slope):
    zero = torch.zeros(1, dtype=torch.float64)
    E0, slope0 = function(zero), slope(zero)
    search = LineSearch.begin(E0, slope0, torch.full_like(zero, torch.inf))
    for _ in range(30):
        a = search.a
        accepted, failed = search.judge(function(a), slope(a))
        assert not failed.any()
        if accepted.all():
            break
    assert accepted.all()
    assert function(a) <= E0 + 1e-4 * a * slope0 and slope(a) >= 0.9 * slope0


def test_impossible_arguments_are_refused():
    for name, value in {"steps": 0, "tolerance": -1.0, "memory": 0, "max_step": 0.0}.items():
        with pytest.raises(UsageError, match=name):
            minimize_lbfgs(well(), **{name: value})
    infinite = well()
    infinite.place(torch.full((4, 12), torch.inf).double())
    with pytest.raises(UsageError, match="finite"):
        minimize_lbfgs(infinite)


@pytest.mark.parametrize("number", [torch.float32, torch.float64])
def test_the_compiled_recursion_is_that_of_tensors(number, monkeypatch):
    """With pairs that are refused, replicas that remember none, and a zero gradient."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(number)

    x = draw(5, 7)
    H = draw(7, 7)
    H = H @ H.T + torch.eye(7, dtype=number)
    one, other = Memory(x, 4), Memory(x, 4)
    for k in range(9):
        s = draw(5, 7)
        y, which = s @ H if k % 3 else -s, torch.tensor([True, k % 2 > 0, False, True, True])
        g = draw(5, 7) * torch.tensor([1.0, 1, 1, 1, 0]).to(number).unsqueeze(1)
        one.add(s, y, which)
        compiled = one.direction(g)
        with monkeypatch.context() as patch:
            patch.setattr(memory, "compiled", lambda x: False)
            other.add(s, y, which)
            torch.testing.assert_close(compiled, other.direction(g), rtol=2e-3, atol=1e-4)
        assert torch.equal(one.s, other.s) and torch.equal(one.y, other.y)


def rough(x):
    """A well with bumps, infinite beyond |x| = 9: steps are refused, shortened and lengthened."""
    far = x.norm(dim=1) > 9
    E = (x**2 / 2 - 2 * torch.cos(3 * x)).sum(1)
    return torch.where(far, torch.inf, E), x + 6 * torch.sin(3 * x)


@pytest.mark.parametrize("on_sphere", [False, True])
def test_the_compiled_descent_is_that_of_tensors(on_sphere, monkeypatch):
    """Trial by trial, for as long as rounding does not choose between branches."""
    energy = glass(40, disorder="shared")
    sphere = energy.constraint if on_sphere else None

    def evaluate(x):
        if not on_sphere:
            return rough(x)
        E, g = energy.value_and_gradient(x)
        return E, energy.constraint.project_(g, x)

    start = energy.configuration()
    one, other = (Descent(start, evaluate, 3, 4.0, sphere) for _ in range(2))
    for _ in range(14):
        one.advance(evaluate)
        with monkeypatch.context() as patch:
            patch.setattr(descent, "compiled", lambda x: False)
            patch.setattr(memory, "compiled", lambda x: False)
            other.advance(evaluate)
        ours, theirs = one.state(), other.state()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-6, atol=1e-7, msg=name)
    assert (one.steps < 14).any() and (one.steps > 5).all()
