"""The edge of stability against iterations in a quadratic valley, 1 % on either side of it."""

from functools import partial

import pytest
import torch

from lightning_landscape.dynamics import FIRE, Langevin, Underdamped
from lightning_landscape.dynamics.stability import edge_of

LR = 0.1
OPTIMIZERS = {
    "gradient descent": partial(torch.optim.SGD, lr=LR),
    "momentum": partial(torch.optim.SGD, lr=LR, momentum=0.8),
    "dampened momentum": partial(torch.optim.SGD, lr=LR, momentum=0.8, dampening=0.5),
    "Nesterov": partial(torch.optim.SGD, lr=LR, momentum=0.8, nesterov=True),
    "weight decay": partial(torch.optim.SGD, lr=LR, weight_decay=3.0),
    "Langevin at T = 0": partial(Langevin, lr=LR),
    "underdamped": partial(Underdamped, lr=LR, friction=0.1),
}


def length_after(make, curvature, steps=2000):
    x = torch.nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
    optimizer = make([x])
    for _ in range(steps):
        x.grad = curvature * x.detach()
        optimizer.step()
    return x.abs().item()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_shrink_below_the_edge_and_grow_above_it(name):
    make = OPTIMIZERS[name]
    edge = edge_of(make([torch.nn.Parameter(torch.ones(1, 1))]))
    bound = edge.threshold / edge.step_sizes[0].item() - edge.weight_decay
    assert length_after(make, 0.99 * bound) < 1e-3
    assert length_after(make, 1.01 * bound) > 1e3


PRECONDITIONED = {
    "Adam": (partial(torch.optim.Adam, lr=LR), "exp_avg_sq", 0.999),
    "AdamW": (
        partial(torch.optim.AdamW, lr=LR, betas=(0.5, 0.999), weight_decay=0.0),
        "exp_avg_sq",
        0.999,
    ),
    "RMSprop": (partial(torch.optim.RMSprop, lr=LR, alpha=0.99, momentum=0.6), "square_avg", 0.99),
}
SECOND_MOMENTS = torch.tensor([[4.0, 0.25]], dtype=torch.float64)


@pytest.mark.parametrize("name", PRECONDITIONED)
def test_a_frozen_preconditioner_has_its_edge(name):
    """The averages of g^2 are set before each step to what makes them the same after it."""
    make, average, beta = PRECONDITIONED[name]

    def moved(H, steps):
        x = torch.nn.Parameter(torch.full((1, 2), 1e-3, dtype=torch.float64))
        optimizer = make([x])
        x.grad = torch.zeros_like(x)
        optimizer.step()
        state = optimizer.state[x]
        state["step"] += 1000  # the bias of the first moment is over
        for _ in range(steps):
            x.grad = H * x.detach()
            unbiased = 1 - beta ** float(state["step"] + 1) if average == "exp_avg_sq" else 1.0
            after = unbiased * SECOND_MOMENTS
            state[average].copy_((after - (1 - beta) * x.grad.square()) / beta)
            optimizer.step()
            if x.abs().min() > 1:  # a thousand times as long as at the start
                break
        return x.detach().abs() / 1e-3, edge_of(optimizer)

    _, edge = moved(torch.zeros(1, 2, dtype=torch.float64), 1)
    torch.testing.assert_close(edge.step_sizes[0], LR / SECOND_MOMENTS.sqrt(), rtol=1e-6, atol=0)
    shrunk, _ = moved(0.99 * edge.threshold / edge.step_sizes[0], 1500)
    grown, _ = moved(1.01 * edge.threshold / edge.step_sizes[0], 1500)
    assert shrunk.max().item() < 0.1
    assert grown.min().item() > 10


def test_the_known_number_of_adam():
    x = torch.nn.Parameter(torch.ones(1))
    adam = torch.optim.Adam([x], lr=LR)
    assert edge_of(adam) is None  # before its first step
    x.grad = torch.ones(1)
    adam.step()
    assert edge_of(adam).threshold == pytest.approx(38)


def test_others_have_no_bound():
    assert edge_of(FIRE([torch.nn.Parameter(torch.ones(1, 1))], lr=0.1)) is None


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.RMSprop])
def test_a_parameter_without_a_gradient_does_not_move(make):
    moved, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = make([moved, unused], lr=0.1)
    assert edge_of(optimizer) is None
    moved.grad = torch.ones(2)
    optimizer.step()
    sizes = edge_of(optimizer).step_sizes
    assert (sizes[0] > 0).all() and (sizes[1] == 0).all()
