"""What an evaluation changes in a module or its batch is as before afterwards."""

import collections
import io
import itertools
import random
import weakref
from collections import deque, namedtuple
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader, Dataset

from lightning_landscape.callbacks.isolation import CannotRestore, isolated, keep
from lightning_landscape.callbacks.measuring import measuring
from lightning_landscape.errors import UsageError

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


WRITES = {
    "in place": lambda w: w.clamp_(-0.01, 0.01),
    "in place, through .data": lambda w: w.data.clamp_(-0.01, 0.01),
    "by assignment": lambda w: setattr(w, "data", 2 * w.data),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_parameter_that_the_step_moves(write):
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    with torch.no_grad(), isolated(module, torch.ones(1, 2)) as batch:
        loss = module(batch).sum()
        write(module.weight)
        assert not torch.equal(module.weight, before)
    assert torch.equal(module.weight, before)
    assert torch.equal(module(torch.ones(1, 2)).sum(), loss)
    # a derivative would be taken at the values before, of an energy after
    outputs = []
    sentence = r"Linear.weight: .* moves parameters"
    with pytest.raises(UsageError, match=sentence), isolated(module, batch, outputs):
        outputs.append(module(torch.ones(1, 2)))
        with torch.no_grad():
            write(module.weight)
    assert torch.equal(module.weight, before)
    with isolated(module, batch, outputs):  # its loss does not depend on them
        outputs[:] = [module.bias.square()]
        write(module.weight.detach() if write is WRITES["in place"] else module.weight)


def test_noise_that_the_step_takes_off_again_is_no_motion():
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    with isolated(module, None):
        module.weight.data.add_(1 / 3)
        module.weight.data.sub_(1 / 3)
    assert torch.equal(module.weight, before)


def test_gradients_that_accumulate_are_restored():
    module = nn.Linear(2, 1)
    module.weight.grad = gradient = torch.ones(1, 2)
    with isolated(module, torch.ones(1, 2)) as batch:
        module.weight.grad.mul_(3)
        module(batch).sum().backward()
        assert module.weight.grad.tolist() == [[4.0, 4.0]]
        module.zero_grad()
    assert module.weight.grad is gradient and gradient.eq(1).all() and module.bias.grad is None


def numbers():
    yield from range(10)


def an_alias():
    module, hidden = nn.Linear(2, 1), torch.zeros(2)
    module.thing = hidden  # and held by the closure, which nobody can see
    return module, lambda: hidden.add_(1)


def of_items_once(iterator):
    module = nn.Linear(2, 1)
    module.thing = iterator
    return module, lambda: next(module.thing)


@pytest.mark.parametrize(
    "make",
    [
        lambda: of_items_once(numbers()),
        lambda: of_items_once(iter(DataLoader([1, 2, 3]))),
        lambda: of_items_once(zip([1, 2], numbers(), strict=False)),
        an_alias,
    ],
    ids=["generator", "iterator of a loader", "zip of a generator", "alias"],
)
def test_what_cannot_be_restored_is_named(make):
    module, step = make()
    sentence = r"Linear.thing: .*energy\(batch\).*loss_fn"
    with pytest.raises(CannotRestore, match=sentence), isolated(module, None):
        step()
    with isolated(module, None):  # unused, it does no harm
        pass


def test_a_generator_that_is_refused_has_not_advanced():
    module, step = of_items_once(numbers())
    with pytest.raises(CannotRestore), isolated(module, None):
        step()
    assert step() == 0


def test_files_are_read_again_and_not_written_to(tmp_path):
    (tmp_path / "read").write_text("1\n2\n")
    module = nn.Linear(2, 1)
    with (tmp_path / "read").open() as module.lines, (tmp_path / "write").open("w") as module.log:
        for _ in range(2):
            with isolated(module, None):
                assert module.lines.readline() == "1\n"
                module.log.write("not to be seen")
        module.log.write("seen")
    assert (tmp_path / "write").read_text() == "seen"


@pytest.mark.parametrize(
    "make",
    [
        lambda: itertools.cycle([1, 2, 3]),
        lambda: enumerate(iter([4, 5, 6])),
        lambda: zip(range(9), itertools.count(3), strict=False),
        lambda: map(str, iter({"a": 1, "b": 2})),
        lambda: itertools.islice(itertools.chain([1], iter((2, 3))), 3),
    ],
)
def test_iterators_of_the_standard_library_go_on_where_they_were(make):
    module, expected = nn.Linear(2, 1), make()
    module.thing = make()
    next(module.thing), next(expected)
    with isolated(module, None):
        inside = next(module.thing)
    assert inside == next(expected)
    module_next = next(module.thing)
    assert inside == module_next


class Augmentation:
    def __init__(self):
        self.calls, self.shift = 0, torch.zeros(2)

    def apply(self, x):
        self.calls += 1
        return x + self.shift.add_(1)


def counting():
    calls, shift = 0, torch.zeros(2)

    def apply(x, seen=[]):  # noqa: B006
        nonlocal calls
        calls += 1
        seen.append(calls)
        return x + shift.add_(1) * calls * len(seen)

    return apply


@pytest.mark.parametrize(
    "make",
    [
        lambda: Augmentation().apply,
        lambda: partial(Augmentation.apply, Augmentation()),
        counting,
        lambda: partial(counting()),
    ],
    ids=["bound method", "partial function", "closure", "partial of a closure"],
)
def test_what_a_function_carries_is_restored(make):
    module, x = nn.Linear(2, 1), torch.zeros(2)
    module.augmentation = make()
    with isolated(module, None):
        inside = module.augmentation(x)
        module.augmentation(x)
    assert torch.equal(module.augmentation(x), inside)


def test_what_the_evaluation_adds_to_a_module_is_taken_away():
    module = nn.Sequential(nn.Linear(2, 1))
    with isolated(module, None):
        module.prototype = nn.Parameter(torch.ones(2), requires_grad=False)
        module.register_buffer("bank", torch.ones(2))
        module[0].head = nn.Linear(1, 1)
    assert not hasattr(module, "prototype") and not hasattr(module, "bank")
    assert [name for name, _ in module.named_parameters()] == ["0.weight", "0.bias"]


class Shared(nn.Module):
    bank, augmentation = torch.zeros(2), Augmentation()


def test_what_a_class_holds_is_restored():
    with isolated(Shared(), None):
        Shared.bank.add_(1)
        Shared.augmentation.apply(torch.zeros(2))
        Shared.new = 1
    assert not Shared.bank.any() and not Shared.augmentation.shift.any()
    assert Shared.augmentation.calls == 0 and not hasattr(Shared, "new")


def test_the_settings_of_optimizers_and_the_attributes_of_the_trainer_are_restored():
    module = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    module.scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    module._trainer = SimpleNamespace(optimizers=[optimizer], lr_scheduler_configs=[])
    with isolated(module, None):
        optimizer.step()
        module.scheduler.step()
        optimizer.param_groups[0]["momentum"] = 0.9
        module._trainer.calls = 1
    assert optimizer.param_groups[0]["lr"] == 0.5 and optimizer.param_groups[0]["momentum"] == 0
    assert module.scheduler.last_epoch == 0 and not hasattr(module._trainer, "calls")


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


DRAWS, USED, TABLE = np.random.default_rng(0), 0, {"calls": [0]}


def drawn():
    return DRAWS.normal()


def counted(step):
    calls = 0

    def count(self):
        nonlocal calls
        calls += 1
        return step(self) + calls

    return count


class UsesGlobals(nn.Module):
    @counted
    def step(self):
        global USED, MADE
        USED += 1
        MADE = USED  # there was none before
        TABLE["calls"].append(USED)
        return drawn() + USED + len(TABLE["calls"])


def test_global_variables_and_closures_of_methods_are_restored():
    module = UsesGlobals()
    with isolated(module):
        inside = module.step()
        module.step()
    assert USED == 0 and TABLE == {"calls": [0]} and "MADE" not in globals()
    assert module.step() == inside


class Buffer(Dataset):
    def __init__(self):
        self.items, self.sizes = [torch.zeros(2)], torch.zeros(3)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, k):
        return self.items[k]


KINDS = {
    "a data set": (Buffer, lambda x: (x.items.append(1), x.sizes.add_(1)) and len(x)),
    "a Sobol sequence": (lambda: torch.quasirandom.SobolEngine(1), lambda x: x.draw(3).sum()),
    "a file in memory": (lambda: io.BytesIO(b"a"), lambda x: (x.read(1), x.write(b"b"))[0]),
    "a table of pandas": (
        lambda: pandas.DataFrame({"a": [1.0, 2.0]}),
        lambda x: x.loc.__setitem__((0, "a"), x.loc[0, "a"] + 1) or x["a"].sum(),
    ),
    "weak keys": (
        weakref.WeakKeyDictionary,
        lambda x: x.update({KEY: x.get(KEY, 0) + 1}) or x[KEY],
    ),
    "a dead weak proxy": (lambda: [weakref.proxy(Record()), 0], lambda x: x.append(1) or len(x)),
}
KEY = nn.Linear(1, 1)


@pytest.mark.parametrize(("make", "use"), KINDS.values(), ids=KINDS.keys())
def test_things_with_a_state_of_their_own(make, use):
    module = nn.Linear(2, 1)
    module.thing = make()
    with isolated(module):
        inside = use(module.thing)
        use(module.thing)
    assert use(module.thing) == inside


def test_an_optimizer_that_the_step_uses_itself():
    module = nn.Linear(2, 1)
    module.other = [nn.Parameter(torch.ones(3))]
    module.optimizer = torch.optim.Adam(module.other, lr=0.1)

    def step():
        module.optimizer.zero_grad()
        module.optimizer.param_groups[0]["params"][0].square().sum().backward()
        module.optimizer.step()
        return module.optimizer.param_groups[0]["params"][0].detach().clone()

    step()
    with isolated(module):
        inside = step()
        step()
    assert torch.equal(step(), inside)


def test_what_backward_passes_change_is_restored():
    module = nn.Sequential(nn.Linear(2, 1))
    module.calls = 0
    with measuring(module):
        with isolated(module, torch.ones(1, 2)) as batch:
            loss = module(batch).sum()
            loss.register_hook(lambda _: setattr(module, "calls", module.calls + 1))
        torch.autograd.grad(loss, list(module.parameters()))
        assert module.calls == 1
    assert module.calls == 0


class NoCopy:
    __slots__ = ("__dict__", "x")

    def __init__(self):
        self.x, self.seen = torch.zeros(1), []

    def __copy__(self):
        raise RuntimeError("no copies")

    __deepcopy__ = __reduce_ex__ = __copy__

    def __getattr__(self, name):
        raise RuntimeError("asked before it is made")


def test_a_batch_is_kept_whatever_its_class_says_of_copies():
    batch = NoCopy()
    kept = keep([batch, collections.defaultdict(list, a=[1])])
    batch.x.add_(1)
    batch.seen.append(1)
    assert type(kept[0]) is NoCopy and not kept[0].x.any() and not kept[0].seen
    assert kept[1]["b"] == []
