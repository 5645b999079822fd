"""Curvature averaged over the batches of a data set that does not fit into one graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.evaluation import seed_evaluation, twice_differentiable
from lightning_landscape.errors import UsageError, require
from lightning_landscape.rng import Stream

__all__ = ["StreamingOperator"]


class StreamingOperator(CurvatureOperator):
    """The mean of the operators of batches, weighted by their numbers of samples.

    H = sum_b n_b H_b / sum_b n_b, which for a loss that is a mean over the samples of a batch is
    the Hessian of the mean over all of them.

    Each product passes over the batches and builds the operator of each anew, so only one graph
    lives at a time. All k vectors of a block share it: the first gradient and the loading cost
    once per block, so solvers that work in blocks pay 1.4 to 1.8 gradients a vector at k = 10, and
    those that ask for one vector at a time 2.3 to 3.1. Random numbers, such as dropout masks, are
    functions of (seed, index of the batch), so that all products are with one matrix.

    Batches may be indices: ``lambda rows: HessianOperator(lambda: energy(rows), parameters)`` with
    ``torch.arange(P).split(1000)`` streams a `NetworkEnergy` of P samples.

    Args:
        operator_of: makes the operator of a batch, at the present parameters.
        batches: a list, or a loader that gives the same batches in the same order each time.
        samples: the number of samples of a batch; by default the length of its first tensor.
        seed: of the random numbers in the evaluation.

    Raises:
        UsageError: the batches are shuffled, can be read only once, or are not the same at each
            pass; or the parameters changed between products.

    >>> x = torch.tensor([1.0], requires_grad=True)
    >>> data = [torch.tensor([1.0, 2.0]), torch.tensor([6.0])]
    >>> from lightning_landscape.curvature import HessianOperator
    >>> H = StreamingOperator(lambda a: HessianOperator(lambda: (a * x**2).mean(), [x]), data)
    >>> H @ torch.ones(1, 1)
    tensor([[6.]])
    """

    # for one vector at a time
    gradient_cost = 2.5

    def __init__(
        self,
        operator_of: Callable[[Any], CurvatureOperator],
        batches: Iterable[Any],
        samples: Callable[[Any], int] | None = None,
        seed: int = 0,
    ) -> None:
        require_repeatable(batches)
        self._operator_of, self._batches = operator_of, batches
        self._samples, self._stream = samples or _length, Stream(seed, "evaluation")
        with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
            first = next(iter(batches), None)
        require(first is not None, "batches", batches, "holds no batch")
        like = operator_of(first)
        super().__init__(like.replicas, like.N, like.dtype, like.device)
        self.at, self._total = like.at, 0

    def multiply(self, V: Tensor) -> Tensor:
        """Return H_r V[r, j], by one pass over the batches."""
        out, total = V.new_zeros(V.shape), 0
        with twice_differentiable(self.device):
            for batch, operator in self._operators():
                n = self._samples(batch)
                out.add_(operator.matmat(V), alpha=n)
                total += n
                del operator  # before the graph of the next batch is built
        same = total == (self._total or total)
        admissible = f"the first pass saw {self._total}"
        require(same, "samples", total, admissible, "pin the batches: list(loader)")
        self._total = total
        return out.div_(total)

    def verify(self) -> None:
        """Raise a `UsageError` unless the operator of the first batch is what it should be."""
        with torch.random.fork_rng(devices=[]):
            _, operator = next(self._operators())
            operator.verify()

    def _operators(self) -> Iterator[tuple[Any, CurvatureOperator]]:
        if self.at is not None:
            self.at.require_unchanged()
        seed_evaluation(self._stream.key(0))  # for what the loader draws
        for index, batch in enumerate(self._batches, start=1):
            seed_evaluation(self._stream.key(index))
            yield batch, self._operator_of(batch)


def require_repeatable(batches: Iterable[Any]) -> None:
    """Raise a `UsageError` unless the batches are the same, in the same order, at each pass."""
    remedy = "pin the batches: list(loader)"
    if not isinstance(batches, DataLoader):
        once = iter(batches) is batches
        require(not once, "batches", type(batches).__name__, "can be read only once", remedy)
        return
    sampler: Any = batches.sampler
    if batches.batch_sampler is not None:
        sampler = batches.batch_sampler
        if type(sampler) is BatchSampler:  # and no subclass, which may do as it likes
            sampler = sampler.sampler
    fixed = isinstance(sampler, SequentialSampler) or getattr(sampler, "shuffle", None) is False
    name = type(sampler).__name__
    require(fixed, "batches", f"a DataLoader with {name}", "its order may change", remedy)


def _length(batch: Any) -> int:
    first = batch
    while not isinstance(first, Tensor):
        if isinstance(first, Mapping) and first:
            first = next(iter(first.values()))
        elif isinstance(first, Sequence) and len(first) and not isinstance(first, str):
            first = first[0]
        else:
            raise UsageError(
                f"samples: cannot count those of a {type(batch).__name__}; give samples=function"
            )
    return len(first)
