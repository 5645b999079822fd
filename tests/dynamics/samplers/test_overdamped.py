"""Both schemes as optimizers: steps, clocks, groups, replicas, resume, refusals."""

import copy
import io

import pytest
import torch
from torch import nn

from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews, Quench, constrain
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere

BOTH = pytest.mark.parametrize("scheme", [Langevin, LeimkuhlerMatthews])


def parameters(dtype=torch.float32, R=4):
    generator = torch.Generator().manual_seed(5)
    shapes = [(R, 3), (R, 2, 5), (R,)]
    return [nn.Parameter(torch.randn(s, generator=generator).to(dtype)) for s in shapes]


def energy(params):
    """An anharmonic energy that couples all parameters of a replica; shape (R,)."""
    x = torch.cat([p.flatten(1) if p.dim() > 1 else p[:, None] for p in params], dim=1)
    return 0.25 * x.pow(4).sum(1) + 0.5 * x.sum(1).square() + x[:, 0] * x[:, -1]


def run(optimizer, params, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        energy(params).sum().backward()
        optimizer.step()
    return [p.detach().clone() for p in params]


def same(a, b):
    return all(x.equal(y) for x, y in zip(a, b, strict=True))


# the step


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_zero_temperature_it_is_sgd_bit_for_bit(scheme, dtype):
    ours, theirs = parameters(dtype), parameters(dtype)
    a = run(scheme(ours, lr=0.013), ours, 50)
    assert same(a, run(torch.optim.SGD(theirs, lr=0.013), theirs, 50))


@BOTH
def test_a_step_is_the_equation(scheme):
    x, lr, T = nn.Parameter(torch.randn(6, 7, dtype=torch.float64)), 0.05, 0.3
    dynamics, start = scheme([x], lr, T, seed=3), x.detach().clone()
    x.grad = torch.randn_like(x)
    dynamics.step()
    noise = dynamics.noise([x], seed=3)(0)[x].double()  # xi_0, or xi_0 + xi_1
    if scheme is LeimkuhlerMatthews:
        noise = noise / 2
    expected = start - lr * x.grad + (2 * lr * T) ** 0.5 * noise
    assert torch.allclose(x, expected, rtol=1e-12, atol=1e-12)


@BOTH
def test_a_parameter_without_a_gradient_stays_and_changes_nothing_for_the_others(scheme):
    params, alone = parameters(), parameters()
    for p in params + alone[::2]:
        p.grad = torch.ones_like(p)
    scheme(params, 0.1, 1.0).step()
    before = alone[1].detach().clone()
    scheme(alone, 0.1, 1.0).step()
    assert alone[1].equal(before)
    assert alone[0].equal(params[0]) and alone[2].equal(params[2])


def test_a_closure_is_evaluated_with_gradients_and_returned():
    x = nn.Parameter(torch.tensor([[2.0]]))
    dynamics = Langevin([x], lr=0.25)

    def closure():
        dynamics.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    assert dynamics.step(closure).item() == 4.0
    assert x.item() == 1.0


def test_the_noise_is_what_moves_a_precise_parameter():
    x = nn.Parameter(torch.zeros(1, 50_000, dtype=torch.float64))
    x.grad = torch.zeros_like(x)
    Langevin([x], lr=0.5, temperature=4.0).step()
    assert abs(x.var().item() / 4.0 - 1) < 4 * (2 / 50_000) ** 0.5


def test_the_noise_of_a_bfloat16_parameter_is_added_in_float32():
    x = nn.Parameter(torch.zeros(1, 50_000, dtype=torch.bfloat16))
    x.grad = torch.zeros_like(x)
    Langevin([x], lr=0.5, temperature=4.0).step()
    assert abs(x.float().var().item() / 4.0 - 1) < 4 * (2 / 50_000) ** 0.5


# groups and replicas


@BOTH
def test_a_group_may_have_its_own_step_size(scheme):
    grouped, apart = parameters(), parameters()
    groups = [{"params": grouped[:1], "lr": 0.05}, {"params": grouped[1:]}]
    dynamics = scheme(groups, lr=0.01, temperature=0.4)
    for p, q in zip(grouped, apart, strict=True):
        p.grad = q.grad = torch.ones_like(p)
    dynamics.step()
    slow = scheme(apart, lr=0.01, temperature=0.4)
    start = [p.detach().clone() for p in apart]
    slow.step()
    assert same(grouped[1:], apart[1:])
    noise = (apart[0] - start[0] + 0.01) / 0.01**0.5  # the same noise, larger steps
    assert torch.allclose(grouped[0], start[0] - 0.05 + noise * 0.05**0.5, atol=1e-5)
    assert dynamics.time == 1.0 and slow.time == 0.01


def test_a_group_may_be_added_later():
    params = parameters()
    dynamics = Langevin(params[:1], lr=0.01, temperature=0.4)
    run(dynamics, params, 2)
    dynamics.add_param_group({"params": params[1:], "lr": 0.02})
    before = params[2].detach().clone()
    run(dynamics, params, 1)
    assert not params[2].equal(before)
    assert dynamics.step_count == 3


@BOTH
def test_each_replica_has_its_own_temperature_and_step_size(scheme):
    R, temperatures, lrs = 4, [0.0, 0.1, 0.5, 2.0], [0.01, 0.02, 0.01, 0.005]
    ladder = parameters(torch.float64, R)
    together = run(scheme(ladder, lrs, temperatures, seed=1), ladder, 20)
    for r in range(R):
        # every replica started at its place in a run at its own temperature and step size
        single = parameters(torch.float64, R)
        alone = run(scheme(single, lrs[r], temperatures[r], seed=1), single, 20)
        for a, b in zip(together, alone, strict=True):
            assert torch.allclose(a[r], b[r], rtol=1e-10, atol=1e-12)


@BOTH
def test_what_one_replica_does_is_nothing_to_the_others(scheme):
    params, disturbed = parameters(), parameters()
    with torch.no_grad():
        for p in disturbed:
            p[1] += 1.0
    a, b = (run(scheme(q, 0.01, 0.3), q, 10) for q in (params, disturbed))
    for x, y in zip(a, b, strict=True):
        assert x[[0, 2, 3]].equal(y[[0, 2, 3]]) and not x[1].equal(y[1])


def test_a_glass_of_few_replicas_sees_the_noise_of_one_of_many():
    few, many = (nn.Parameter(torch.zeros(R, 40)) for R in (3, 30))
    for x in (few, many):
        x.grad = torch.zeros_like(x)
        Langevin([x], 0.1, 1.0).step()
    assert many[:3].equal(few)


# the clock


def test_time_is_the_step_size_times_the_steps():
    params = parameters()
    dynamics = Langevin(params, lr=0.1)
    assert (dynamics.step_count, dynamics.time) == (0, 0.0)
    run(dynamics, params, 7)
    assert (dynamics.step_count, dynamics.time) == (
        7,
        7 * 0.1,
    )  # a running sum would be 0.7 - 1e-16


def test_time_follows_a_step_size_that_changes():
    params = parameters()
    dynamics = Langevin(params, lr=0.1)
    rates = torch.optim.lr_scheduler.StepLR(dynamics, step_size=3, gamma=0.5)
    for _ in range(7):
        run(dynamics, params, 1)
        rates.step()
    assert dynamics.time == pytest.approx(3 * 0.1 + 3 * 0.05 + 0.025, abs=1e-15)


def test_a_step_size_that_ends_at_zero_stops_the_motion():
    for constraint in (None, Sphere(3)):
        x = nn.Parameter(torch.ones(2, 3))
        dynamics = Langevin([x], lr=0.1, temperature=1.0, constraint=constraint)
        dynamics.param_groups[0]["lr"] = 0.0
        x.grad = torch.ones_like(x)
        dynamics.step()
        assert x.equal(torch.ones(2, 3))


def test_replicas_with_different_steps_count_steps():
    params = parameters()
    dynamics = Langevin(params, lr=[0.1, 0.1, 0.2, 0.1])
    run(dynamics, params, 3)
    assert dynamics.time == 3.0


def test_a_schedule_sees_physical_time():
    seen, params = [], parameters()

    def schedule(t):
        seen.append(t)
        return 0.1

    dynamics = Langevin(params, lr=0.25, temperature=schedule)
    run(dynamics, params, 4)
    assert seen == [0.0, 0.25, 0.5, 0.75]
    assert not dynamics.temperature_is_constant


def test_a_quench_happens_at_its_step():
    params = parameters()
    dynamics = Langevin(params, lr=0.1, temperature=Quench(1.0, 0.0, at=0.3))
    temperatures = []
    for _ in range(5):
        temperatures.append(dynamics.current_temperature)
        run(dynamics, params, 1)
    assert temperatures == [1.0, 1.0, 1.0, 0.0, 0.0]  # 3 * 0.1 < 0.3 + 1e-16


def test_the_temperature_can_be_asked_for():
    params = parameters()
    assert Langevin(params, 0.1, 0.5).current_temperature == 0.5
    ladder = Langevin(params, 0.1, [0.1, 0.2, 0.3, 0.4])
    assert ladder.current_temperature.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert ladder.temperature_is_constant


# resume


@BOTH
@pytest.mark.parametrize("stop", [0, 1, 2, 7])
@pytest.mark.parametrize("arguments", [{"lr": 0.01}, {"lr": [0.01, 0.02, 0.01, 0.03]}])
def test_a_run_resumes_bit_for_bit_from_any_step(scheme, stop, arguments):
    setting = {**arguments, "temperature": Quench(0.5, 0.2, at=0.05), "seed": 9}
    params = parameters()
    whole = run(scheme(params, **setting), params, 12)

    params = parameters()
    dynamics = scheme(params, **setting)
    file = io.BytesIO()
    torch.save((run(dynamics, params, stop), dynamics.state_dict()), file)
    file.seek(0)
    configuration, state = torch.load(file, weights_only=True)

    params = [nn.Parameter(x) for x in configuration]
    dynamics = scheme(params, **setting)
    dynamics.load_state_dict(state)
    torch.manual_seed(123)
    assert dynamics.step_count == stop
    assert same(run(dynamics, params, 12 - stop), whole)


@BOTH
def test_the_state_is_a_few_numbers(scheme):
    params = parameters()
    dynamics = scheme(params, lr=0.01, temperature=0.5)
    run(dynamics, params, 3)
    state = dynamics.state_dict()
    assert state["state"] == {0: {"step": 3, "since": 0, "time": 0.0, "time_step": 0.01}}
    assert state["param_groups"] == [{"lr": 0.01, "weight_decay": 0.0, "params": [0, 1, 2]}]


@BOTH
def test_a_run_continues_in_a_copy_and_in_place_after_a_jump_back(scheme):
    params = parameters()
    dynamics = scheme(params, lr=0.01, temperature=0.5)
    there = run(dynamics, params, 5)
    state = copy.deepcopy(dynamics.state_dict())
    onward = run(dynamics, params, 5)
    dynamics.load_state_dict(state)
    with torch.no_grad():
        for p, x in zip(params, there, strict=True):
            p.copy_(x)
    assert same(run(dynamics, params, 5), onward)


@BOTH
def test_a_deep_copy_moves_on_its_own(scheme):
    model = nn.ParameterList(parameters())
    model.dynamics = scheme(list(model), lr=0.01, temperature=0.5, seed=2)
    twin = copy.deepcopy(model)
    a = run(model.dynamics, list(model), 3)
    assert same(run(twin.dynamics, list(twin), 3), a)


def test_the_global_generator_is_neither_used_nor_moved():
    results = []
    for seed in (1, 2):
        params = parameters()
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        results.append(run(Langevin(params, 0.01, 1.0), params, 3))
        assert torch.get_rng_state().equal(before)
    assert same(*results)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@BOTH
def test_on_a_gpu_the_same_contracts_hold(scheme):
    def run_on_gpu(stop):
        params = [nn.Parameter(p.detach().cuda()) for p in parameters()]
        setting = {"lr": 0.01, "temperature": [0.1, 0.2, 0.3, 0.4], "seed": 1}
        dynamics = scheme(params, **setting)
        run(dynamics, params, stop)
        resumed = scheme(params, **setting)
        resumed.load_state_dict(dynamics.state_dict())
        return run(resumed, params, 8 - stop)

    assert same(run_on_gpu(8), run_on_gpu(3))
    ours, theirs = ([nn.Parameter(p.detach().cuda()) for p in parameters()] for _ in range(2))
    a = run(scheme(ours, lr=0.013), ours, 20)
    assert same(a, run(torch.optim.SGD(theirs, lr=0.013), theirs, 20))


# refusals


@BOTH
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"lr": 0.0}, "lr = 0.0: must be a number > 0"),
        ({"lr": -0.1}, "lr = -0.1"),
        ({"lr": float("nan")}, "lr = nan"),
        ({"lr": "fast"}, "lr = fast: must be a number"),
        ({"lr": [0.1, 0.0, 0.1, 0.1]}, "lr = "),
        ({"lr": []}, "lr = "),
        ({"lr": 0.1, "temperature": -1.0}, "temperature = -1.0: must be a number >= 0"),
        ({"lr": 0.1, "temperature": float("inf")}, "temperature = inf"),
        ({"lr": 0.1, "temperature": [0.1, -0.2, 0.1, 0.1]}, "temperature = "),
        ({"lr": 0.1, "temperature": [[0.1]]}, "temperature = "),
        (
            {"lr": 0.1, "temperature": [0.1, 0.2, 0.3]},
            r"has 3 values but .*\(4, 3\) has 4 replicas",
        ),
        ({"lr": [0.1] * 3}, "has 3 values but"),
        ({"lr": 0.1, "constraint": Sphere(3)}, r"\(4, 2, 5\).*\(R, 3\)"),
    ],
)
def test_bad_arguments_get_one_sentence(scheme, arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        scheme(parameters(), **arguments)


def test_a_group_with_an_unknown_setting_is_refused():
    with pytest.raises(UsageError, match="momentum"):
        Langevin([{"params": parameters(), "momentum": 0.1}], lr=0.1)
    with pytest.raises(UsageError, match=r"lr = -1"):
        Langevin([{"params": parameters(), "lr": -1}], lr=0.1)


def test_a_later_group_has_to_fit_the_sphere_too():
    dynamics = Langevin([nn.Parameter(torch.ones(2, 4))], lr=0.1, constraint=Sphere(4))
    with pytest.raises(UsageError, match=r"shape = \(2, 3\)"):
        dynamics.add_param_group({"params": [nn.Parameter(torch.ones(2, 3))]})


def test_temperatures_of_replicas_need_a_replica_axis():
    net = nn.Linear(5, 3)
    with pytest.raises(UsageError, match="replicas in front"):
        Langevin(net.parameters(), lr=0.1, temperature=[0.1, 0.2])


def test_a_schedule_that_goes_below_zero_is_refused_at_its_time():
    params = parameters()
    dynamics = Langevin(params, lr=0.5, temperature=lambda t: 1 - t)
    with pytest.raises(UsageError, match=r"temperature\(1.5\) = -0.5"):
        run(dynamics, params, 5)


# on the sphere


@BOTH
def test_on_the_sphere_zero_temperature_is_constrained_sgd_bit_for_bit(scheme):
    N = 6
    start = Sphere(N).retract_(torch.randn(4, N))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    a = scheme([ours], lr=0.05, constraint=Sphere(N))
    b = constrain(torch.optim.SGD([theirs], lr=0.05), Sphere(N))
    for optimizer, x in ((a, ours), (b, theirs)):
        for _ in range(20):
            optimizer.zero_grad()
            x.pow(4).sum().backward()
            optimizer.step()
    assert ours.equal(theirs)
    assert torch.allclose(ours.square().sum(1), torch.full((4,), float(N)))


@pytest.mark.parametrize("dynamics", [Langevin, LeimkuhlerMatthews])
def test_equal_groups_of_replicas_share_a_value(dynamics):
    def after_a_step(**arguments):
        x = torch.nn.Parameter(torch.ones(4, 3))
        optimizer = dynamics([x], **arguments)
        x.grad = torch.ones(4, 3)
        optimizer.step()
        return x.detach()

    groups = after_a_step(lr=[0.1, 0.2], temperature=[0.0, 0.5])
    each = after_a_step(lr=[0.1, 0.1, 0.2, 0.2], temperature=[0.0, 0.0, 0.5, 0.5])
    assert torch.equal(groups, each)
    assert torch.equal(groups[:2], torch.full((2, 3), 0.9))
