"""What an evaluation changes in a module or its batch is as before afterwards."""

import itertools
import random
from collections import deque, namedtuple
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn

from lightning_landscape.callbacks.isolation import CannotRestore, isolated, keep

Named = namedtuple("Named", "x y")


@dataclass
class Record:
    n: int = 0
    losses: list = field(default_factory=list)


class Slotted:
    __slots__ = ("value",)

    def __init__(self):
        self.value = torch.zeros(3)


class Stateful(nn.Module):
    """Has every kind of state that a training step was seen to keep; ``forward`` changes all."""

    steps = 0

    def __init__(self):
        super().__init__()
        self.net, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.teacher = nn.Linear(4, 4).requires_grad_(False)
        self.hidden_teachers = [nn.Linear(4, 4).requires_grad_(False)]
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("queue", torch.zeros(2, 4), persistent=False)
        self.last = self.queue[1]  # a view of the same memory
        self.metric = torchmetrics.MeanSquaredError()
        self.count, self.state, self.outputs = 0, None, []
        self.recent, self.seen = deque([1.0, 2.0], maxlen=2), {3}
        self.table = {"a": torch.zeros(2), "b": [torch.zeros(1)]}
        self.record, self.space, self.slotted = Record(), SimpleNamespace(k=1), Slotted()
        self.array, self.draws = np.zeros(3), np.random.default_rng(0)
        self.coins, self.noise = random.Random(0), torch.Generator().manual_seed(0)
        self.counter, self.cycle = itertools.count(), iter([1, 2, 3])

    def forward(self, batch):
        type(self).steps += 1
        x = batch["x"].mul_(1.1)
        batch.pop("extra")
        y = self.norm(self.net(x)) - self.teacher(x) - self.hidden_teachers[0](x)
        loss = y.square().mean() * (1 + self.count) * self.scale
        with torch.no_grad():
            self.teacher.weight.lerp_(self.net.weight, 0.1)
            self.hidden_teachers[0].weight.mul_(0.5)
            self.queue.copy_(x[:2])
            self.last.add_(1)
        self.scale = 0.9 * self.scale + 0.1 * loss.detach()
        self.metric(y, torch.zeros_like(y))
        self.count += 1
        self.state = (x.detach(), loss)
        self.outputs.append(loss)
        self.recent.append(loss.item())
        self.seen.add(self.count)
        self.table["a"].add_(1)
        self.table["b"].append(loss)
        self.table["c"] = loss
        self.record.n += 1
        self.record.losses.append(loss)
        self.space.k += 1
        self.slotted.value.add_(1)
        self.array += self.draws.normal(size=3)
        self.coins.random()
        torch.randn(1, generator=self.noise)
        next(self.counter), next(self.cycle)
        self.training = False
        self.new = 1
        return loss


def picture(x, known=()):
    """Everything that can be told of a module, as nested plain values."""
    if isinstance(x, torch.Tensor):
        return (id(x), x._version, x.tolist())
    if isinstance(x, nn.Module | Record | SimpleNamespace):
        return {k: picture(v, (*known, id(x))) for k, v in vars(x).items() if id(v) not in known}
    if isinstance(x, dict):
        return {k: picture(v, (*known, id(x))) for k, v in x.items() if id(v) not in known}
    if isinstance(x, list | tuple | deque):
        return [type(x).__name__, *(picture(v, (*known, id(x))) for v in x)]
    if isinstance(x, Slotted):
        return picture(x.value)
    if isinstance(x, np.ndarray):
        return x.tolist()
    if isinstance(x, np.random.Generator):
        return str(x.bit_generator.state)
    if isinstance(x, random.Random):
        return x.getstate()
    if isinstance(x, torch.Generator):
        return x.get_state().tolist()
    if isinstance(x, itertools.count):
        return repr(x)
    return x.__length_hint__() if hasattr(x, "__length_hint__") else repr(x)


def a_batch():
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    return {"x": x, "extra": [1, torch.ones(2)]}


def test_everything_is_as_before_and_the_loss_is_the_same_again():
    torch.manual_seed(0)
    module, batch = Stateful(), a_batch()
    before, batch_before, steps = picture(module), picture(batch), Stateful.steps
    losses = []
    for _ in range(2):
        module.norm.running_mean.zero_()
        with isolated(module, batch) as inside:
            losses.append(module(inside))
        assert picture(batch) == batch_before
        assert Stateful.steps == steps
    after = picture(module)
    # zero_ of the test itself has raised the version of one buffer
    assert {k: v for k, v in after.items() if k != "_modules"} == {
        k: v for k, v in before.items() if k != "_modules"
    }
    assert after["_modules"]["teacher"] == before["_modules"]["teacher"]
    assert after["_modules"]["metric"] == before["_modules"]["metric"]
    assert losses[0] == losses[1]
    # the graph outlives the evaluation, for second derivatives too
    parameters = list(module.net.parameters())
    grads = torch.autograd.grad(losses[0], parameters, create_graph=True)
    curved = torch.autograd.grad(sum(g.square().sum() for g in grads), parameters)
    assert all(c.isfinite().all() for c in curved)


def test_it_is_undone_where_the_evaluation_fails():
    module, batch = Stateful(), a_batch()
    before = picture(module)
    with pytest.raises(KeyError), isolated(module, batch) as inside:
        module(inside)
        raise KeyError("in the middle of a step")
    assert picture(module) == before and "extra" in batch


def test_copies_that_share_memory_share_it():
    module, batch = Stateful(), a_batch()
    with isolated(module, batch) as inside:
        module(inside)
        assert torch.equal(module.queue[1], module.last) and module.last.any()
    assert not module.last.any()


def test_a_trainable_parameter_that_the_step_clips():
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    with isolated(module, torch.ones(1, 2)) as batch:
        loss = module(batch).sum()
        with torch.no_grad():
            module.weight.clamp_(-0.01, 0.01)
    assert torch.equal(module.weight, before)
    assert torch.equal(module(torch.ones(1, 2)).sum(), loss)


def numbers():
    yield from range(10)


@pytest.mark.parametrize("kind", ["generator", "file", "alias"])
def test_what_cannot_be_restored_is_named(kind, tmp_path):
    module = nn.Linear(2, 1)
    hidden = torch.zeros(2)
    module.thing = {"generator": numbers, "file": lambda: (tmp_path / "a").open("w"),
                    "alias": lambda: hidden}[kind]()  # fmt: skip

    def step():
        if kind == "generator":
            next(module.thing)
        elif kind == "file":
            module.thing.write("x")
            module.thing.flush()
        else:
            hidden.add_(1)  # held by this closure, which nobody can see

    sentence = r"Linear.thing: .*energy\(batch\).*loss_fn"
    with pytest.raises(CannotRestore, match=sentence), isolated(module, None):
        step()
    with isolated(module, None):  # unused, it does no harm
        pass
    if kind == "file":
        module.thing.close()


def test_memory_grows_by_what_is_written_to_only():
    module = nn.Linear(2, 1)
    module.register_buffer("bank", torch.zeros(1000))
    with isolated(module, None):
        untouched = module.bank
        # a copy-on-write copy: torch's own word for memory that is still shared
        assert torch._C._is_cow_tensor(untouched)
        untouched.add_(1)
        assert not torch._C._is_cow_tensor(untouched)
    assert not module.bank.any()


def test_a_batch_that_is_kept_cannot_be_reached():
    batch = Named(
        torch.zeros(2), {"of": [torch.ones(1), 5], "who": SimpleNamespace(t=torch.ones(1))}
    )
    kept = keep(batch)
    batch.x.add_(1)
    batch.y["of"].pop()
    batch.y["who"].t.add_(1)
    assert type(kept) is Named and not kept.x.any()
    assert kept.y["of"][1] == 5 and kept.y["who"].t == 1
