"""FIRE against minima that are known, and replica against replica."""

import io

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import FIRE, minimize
from lightning_landscape.energies import Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere

SPECTRUM = [0.5, 1.0, 4.0, 50.0]


def descend(x, steps, lr=0.05, spectrum=SPECTRUM):
    fire = FIRE([x], lr=lr)
    for _ in range(steps):
        x.grad = x.detach() * torch.tensor(spectrum, dtype=x.dtype)
        fire.step()
    return fire


def reference(x, steps, lr=0.05, longest=10.0, spectrum=SPECTRUM):
    """One replica by the letter of Bitzek et al., in plain numbers."""
    x, v, dt, alpha, positive = list(x), [0.0] * len(x), lr, 0.1, 0
    for _ in range(steps):
        F = [-k * a for k, a in zip(spectrum, x, strict=True)]
        P = sum(f * u for f, u in zip(F, v, strict=True))
        speed, force = sum(u * u for u in v) ** 0.5, sum(f * f for f in F) ** 0.5
        if P > 0:
            v = [(1 - alpha) * u + alpha * speed * f / force for u, f in zip(v, F, strict=True)]
            positive += 1
            if positive > 5:
                dt, alpha = min(1.1 * dt, longest * lr), 0.99 * alpha
        else:
            positive = 0
            if speed > 0:
                dt, alpha, v = dt / 2, 0.1, [0.0] * len(x)
        v = [u + dt * f for u, f in zip(v, F, strict=True)]
        x = [a + dt * u for a, u in zip(x, v, strict=True)]
    return x


def test_each_replica_follows_the_published_rules():
    """Its own power, time step and mixing: replicas that stop at other times stay independent."""
    start = torch.tensor([[1.0, -2.0, 0.3, 0.7], [0.1, 0.1, -5.0, 0.0], [4.0, 1.0, 1.0, 2.0]])
    x = nn.Parameter(start.double())
    descend(x, 60)
    expected = torch.tensor([reference(row, 60) for row in start.double().tolist()])
    assert torch.allclose(x.float(), expected, rtol=1e-5, atol=1e-7)


def test_it_finds_the_minimum_of_a_quadratic_well_from_any_first_step():
    """From far below the stable time step 2 / sqrt 50 = 0.28, and from above it."""
    for lr in (0.01, 0.1, 1.0):
        well = Quadratic(SPECTRUM, replicas=8, rotate=True, start=3.0, dtype="float64")
        end = minimize(well, lambda p, lr=lr: FIRE(p, lr=lr), steps=3000, below=1e-20)
        assert end.done.all()
        # E >= 0.5 |x|^2 / 2
        assert (well.configuration().square().sum(1) <= 4e-20).all()


def test_it_is_faster_than_gradient_descent_where_curvatures_differ():
    """Gradient descent needs of order lambda_max / lambda_min = 100 steps a factor e in x."""
    counts = {}
    for name, make in {
        "fire": lambda p: FIRE(p, lr=0.05),
        "descent": lambda p: torch.optim.SGD(p, lr=1 / 50),
    }.items():
        well = Quadratic([0.5, 50.0], replicas=4, dtype="float64")
        counts[name] = minimize(well, make, steps=3000, below=1e-12).steps.max().item()
    assert counts["fire"] * 3 < counts["descent"]


def test_rosenbrocks_valley_ends_at_one_one():
    x = nn.Parameter(torch.tensor([[-1.2, 1.0]], dtype=torch.float64))
    fire = FIRE([x], lr=0.01)
    for _ in range(2500):
        fire.zero_grad()
        (100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2).sum().backward()
        fire.step()
    assert torch.allclose(x, torch.ones_like(x), atol=1e-3)


@pytest.mark.parametrize("stop", [0, 1, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_run_resumes_bit_for_bit(stop, dtype):
    start = torch.tensor([[1.0, -2.0, 0.3, 0.7], [0.1, 0.1, -5.0, 0.2]], dtype=dtype)
    whole = nn.Parameter(start.clone())
    descend(whole, 40)
    x, file = nn.Parameter(start.clone()), io.BytesIO()
    torch.save((x.detach(), descend(x, stop).state_dict()), file)
    file.seek(0)
    configuration, state = torch.load(file, weights_only=True)
    x = nn.Parameter(x.detach() if stop else configuration)
    fire = FIRE([x], lr=0.05)
    fire.load_state_dict(state)
    for _ in range(40 - stop):
        x.grad = x.detach() * torch.tensor(SPECTRUM, dtype=dtype)
        fire.step()
    assert x.equal(whole)


def test_replicas_do_not_feel_each_other():
    start = torch.tensor([[1.0, -2.0, 0.3, 0.7], [0.1, 0.1, -5.0, 0.2]]).double()
    together, disturbed = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    with torch.no_grad():
        disturbed[1] *= 7
    descend(together, 50), descend(disturbed, 50)
    assert together[0].equal(disturbed[0])
    assert not together[1].equal(disturbed[1])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"lr": 0.0}, "lr = 0.0"),
        ({"lr": 0.1, "longest": 0.5}, "longest = 0.5"),
    ],
)
def test_impossible_settings_are_refused(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        FIRE([nn.Parameter(torch.zeros(2, 3))], **arguments)


def test_parameters_need_one_replica_axis_and_one_group():
    with pytest.raises(UsageError, match="replicas of the parameters"):
        FIRE([nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(3, 3))], lr=0.1)
    groups = [{"params": [nn.Parameter(torch.zeros(2, 3))]} for _ in range(2)]
    with pytest.raises(UsageError, match="parameter groups = 2"):
        FIRE(groups, lr=0.1)


def test_on_the_sphere_it_keeps_the_radius_and_moves_along_the_tangent():
    """One step from rest is dt^2 times the tangent force; v stays orthogonal to x."""
    sphere, x = Sphere(3), nn.Parameter(torch.tensor([[1.0, -1.0, 1.0], [3**0.5, 0, 0]]).double())
    fire, k = FIRE([x], lr=0.1, constraint=sphere), torch.tensor([1.0, 2.0, 3.0]).double()
    before = x.detach().clone()
    force = sphere.project_(-k * before, before)
    for step in range(50):
        x.grad = k * x.detach()
        fire.step()
        if step == 0:
            assert torch.allclose(x, sphere.retract_(before + 0.01 * force), rtol=1e-14)
        v = fire.state[x]["velocity"]
        assert torch.linalg.vecdot(v, x).abs().max() < 1e-12
        assert torch.allclose(x.square().sum(1), torch.full((2,), 3.0).double(), rtol=1e-14)
    with pytest.raises(UsageError, match="shape"):
        FIRE([x], lr=0.1, constraint=Sphere(4))
