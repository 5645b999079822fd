import random

import numpy as np
import pytest
import torch
from torch import nn

from lightning_landscape.callbacks.measuring import measuring


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))


def state_of_everything(net):
    return {
        **{name: value.clone() for name, value in net.state_dict().items()},
        "torch": torch.get_rng_state(),
        "numpy": torch.as_tensor(np.random.get_state()[1].astype(np.int64)),  # noqa: NPY002
        "python": torch.tensor(random.getstate()[1]),
        "modes": torch.tensor([m.training for m in net.modules()]),
    }


def disturb(net):
    net(torch.randn(16, 4)).sum()
    np.random.rand()  # noqa: NPY002
    random.random()
    net.eval()
    net(torch.randn(16, 4))


def test_what_happens_inside_leaves_no_trace(net):
    before = state_of_everything(net)
    with measuring(net):
        disturb(net)
        assert not net.training
    after = state_of_everything(net)
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_the_trace_is_removed_after_an_error_too(net):
    before = state_of_everything(net)
    with pytest.raises(ZeroDivisionError), measuring(net):
        disturb(net)
        raise ZeroDivisionError
    after = state_of_everything(net)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_without_it_there_would_be_a_trace(net):
    before = state_of_everything(net)
    disturb(net)
    after = state_of_everything(net)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"torch", "numpy", "python", "modes", "1.running_mean"} <= changed


def test_two_derivatives_inside_inference_and_autocast(net):
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16), measuring(net):
        x = torch.randn(3, 4)
        loss = net(x).square().sum()
        (g,) = torch.autograd.grad(loss, net[3].weight, create_graph=True)
        (h,) = torch.autograd.grad(g.sum(), net[3].weight)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(h[0], 2 * (net[:3](x).T @ net[:3](x)).sum(1))


def test_attention_has_a_double_backward_inside():
    q = torch.randn(1, 1, 4, 8, requires_grad=True)
    with measuring(nn.Identity()):
        out = nn.functional.scaled_dot_product_attention(q, q, q).square().sum()
        (g,) = torch.autograd.grad(out, q, create_graph=True)
        (h,) = torch.autograd.grad(g.square().sum(), q)
    assert h.isfinite().all()
    assert h.abs().max() > 0


def test_compiled_code_has_a_double_backward_inside():
    net = torch.compile(nn.Linear(3, 1), backend="aot_eager")
    x = torch.randn(5, 3)
    net(x).sum().backward()
    with measuring(net):
        loss = net(x).pow(3).sum()
        (g,) = torch.autograd.grad(loss, net.weight, create_graph=True)
        (h,) = torch.autograd.grad(g.sum(), net.weight)
    assert h.abs().max() > 0
