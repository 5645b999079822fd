"""Operators that pass over batches, against the operator of all data at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_landscape.curvature import (
    GaussNewtonOperator,
    HessianOperator,
    StreamingOperator,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.testing import OperatorCase, OperatorContract

P = 23


def dataset(dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(P, 4, generator=g).to(dtype), torch.arange(P) % 3)


def network(dtype=torch.float32, dropout=0.0):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.Dropout(dropout), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def of_batch(net):
    def operator_of(batch):
        x, y = batch
        return HessianOperator(lambda: F.cross_entropy(net(x), y), net.parameters())

    return operator_of


class TestStreaming(OperatorContract):
    """23 samples in batches of 10: the last one has 3, and weighs 3."""

    def case(self, dtype):
        reference = of_batch(network(torch.float64))(dataset(torch.float64)[:])
        net, loader = network(dtype), DataLoader(dataset(dtype), batch_size=10)
        return OperatorCase(
            lambda: StreamingOperator(of_batch(net), loader), reference.dense(), net
        )


class TestStreamingGaussNewton(OperatorContract):
    def make(self, net, batch):
        x, y = batch
        return GaussNewtonOperator(
            lambda: net(x), lambda f: F.cross_entropy(f, y), net.parameters()
        )

    def case(self, dtype):
        reference = self.make(network(torch.float64), dataset(torch.float64)[:])
        net, batches = network(dtype), list(DataLoader(dataset(dtype), batch_size=6))
        return OperatorCase(
            lambda: StreamingOperator(lambda batch: self.make(net, batch), batches),
            reference.dense(),
            net,
        )


def test_dropout_masks_are_those_of_the_batch_at_every_product():
    """Symmetric though the masks are drawn anew, whatever is drawn in between; and seeded."""
    net = network(torch.float64, dropout=0.5)
    loader = DataLoader(dataset(torch.float64), batch_size=6)
    H = StreamingOperator(of_batch(net), loader)
    first = H.dense()
    torch.rand(5)
    assert torch.equal(H.dense(), first)
    assert H.symmetry_defect().item() < 1e-12
    assert not torch.allclose(StreamingOperator(of_batch(net), loader, seed=1).dense(), first)
    without = StreamingOperator(of_batch(network(torch.float64)), loader).dense()
    assert not torch.allclose(without, first)


def test_each_batch_is_evaluated_once_for_all_vectors():
    net, evaluated = network(), []

    def operator_of(batch):
        evaluated.append(len(batch[0]))
        return of_batch(net)(batch)

    H = StreamingOperator(operator_of, list(DataLoader(dataset(), batch_size=10)))
    evaluated.clear()
    H @ torch.randn(7, H.N)
    assert evaluated == [10, 10, 3]


def test_batches_may_be_dictionaries_and_counted_by_hand():
    net = network()
    batches = [{"x": x, "y": y} for x, y in DataLoader(dataset(), batch_size=10)]

    def operator_of(batch):
        return of_batch(net)((batch["x"], batch["y"]))

    expected = of_batch(net)(dataset()[:]).dense()
    torch.testing.assert_close(StreamingOperator(operator_of, batches).dense(), expected)
    H = StreamingOperator(operator_of, batches, samples=lambda batch: len(batch["y"]))
    torch.testing.assert_close(H.dense(), expected)


class Endless(IterableDataset):
    def __iter__(self):
        yield from dataset()


def refused():
    data = dataset()
    return {
        "RandomSampler": DataLoader(data, batch_size=5, shuffle=True),
        "WeightedRandomSampler": DataLoader(data, sampler=WeightedRandomSampler([1.0] * P, P)),
        "_InfiniteConstantSampler": DataLoader(Endless(), batch_size=5),
        "generator": (batch for batch in DataLoader(data)),
        "holds no batch": [],
    } | {
        "RandomSampler ": DataLoader(
            data, batch_sampler=BatchSampler(RandomSampler(data), 5, False)
        )
    }


@pytest.mark.parametrize("name", refused())
def test_batches_that_may_differ_between_products_are_refused(name):
    with pytest.raises(UsageError, match=name.strip()):
        StreamingOperator(of_batch(network()), refused()[name])


def test_a_plain_batch_sampler_is_accepted():
    data = dataset()
    loader = DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), 5, False))
    expected = of_batch(network())(data[:]).dense()
    torch.testing.assert_close(StreamingOperator(of_batch(network()), loader).dense(), expected)


def test_batches_that_change_between_products_are_noticed():
    batches = list(DataLoader(dataset(), batch_size=10))
    H = StreamingOperator(of_batch(network()), batches)
    H @ torch.ones(1, H.N)
    batches.pop()
    with pytest.raises(UsageError, match="samples = 20: the first pass saw 23"):
        H @ torch.ones(1, H.N)


def test_a_parameter_that_moves_between_products_is_noticed():
    net = network()
    H = StreamingOperator(of_batch(net), list(DataLoader(dataset(), batch_size=10)))
    H @ torch.ones(1, H.N)
    with torch.no_grad():
        net[0].weight.mul_(2)
    with pytest.raises(UsageError, match="changed since the operator was built"):
        H @ torch.ones(1, H.N)


def test_what_cannot_be_counted_is_refused():
    net = network()
    H = StreamingOperator(lambda batch: of_batch(net)(dataset()[:]), [{"rows": "0-10"}])
    with pytest.raises(UsageError, match="give samples=function"):
        H @ torch.ones(1, H.N)
