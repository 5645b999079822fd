"""The ranks of a distributed run: which one this is, what it owns, what all of them hold together.

Everything here is collective: every rank calls it, in the same order, with tensors of one dtype.
Without a process group there is one rank, and each reduction is the identity.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_landscape.errors import require

__all__ = [
    "Reduction",
    "count",
    "gather",
    "lost",
    "max",
    "mean",
    "meet",
    "rank",
    "reduce",
    "share",
    "sum",
]

Reduction = Literal["sum", "mean", "max", "gather"]
"""What is made of the values of all ranks; ``gather`` joins them along an axis, in rank order."""


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def count() -> int:
    """Return the number of ranks."""
    return dist.get_world_size() if _is_distributed() else 1


def rank() -> int:
    """Return the number of this rank, from 0."""
    return dist.get_rank() if _is_distributed() else 0


def lost(error: BaseException) -> bool:
    """Return whether a collective operation raised ``error``, as if another rank were gone."""
    gone = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    said = any(sign in str(error) for sign in gone)
    return isinstance(error, RuntimeError) and (said or isinstance(error, dist.DistError))


def meet(rank: int, count: int) -> dist.Store:
    """Return the store in which ranks exchange words before there is a process group.

    Each rank calls it, with the address in ``MASTER_ADDR`` and ``MASTER_PORT``; a process group
    that is made afterwards meets at the same address. Rank zero must keep the store.
    """
    store, _, _ = next(iter(dist.rendezvous("env://", rank, count)))
    return store


def share(total: int) -> range:
    """Return the replicas, of ``total``, that this rank owns: a block; sizes differ by at most 1.

    >>> share(5)
    range(0, 5)
    """
    require(total >= 0, "total", total, "must be at least 0")
    return range(rank() * total // count(), (rank() + 1) * total // count())


def sum(x: Tensor) -> Tensor:
    """Return the sum over the ranks, elementwise; ``x`` has one shape on all of them."""
    return _reduced(x, "sum")


def max(x: Tensor) -> Tensor:
    """Return the largest value of any rank, elementwise; ``x`` has one shape on all of them."""
    return _reduced(x, "max")


def mean(x: Tensor) -> Tensor:
    """Return the mean over the ranks, elementwise; ``x`` is floating and has one shape."""
    return sum(x) / count() if count() > 1 else x


def gather(x: Tensor, dim: int = 0) -> Tensor:
    """Return the tensors of all ranks joined along ``dim``, in rank order.

    Args:
        x: what this rank holds; the ranks may differ in the size of ``dim`` only.
        dim: the axis of the replicas, or of the patterns.

    >>> gather(torch.tensor([[1.0, 2.0]]), dim=1)
    tensor([[1., 2.]])
    """
    if count() == 1:
        return x
    own = x.movedim(dim, 0).contiguous().to(_device(x))
    sizes = [torch.zeros(1, dtype=torch.int64, device=own.device) for _ in range(count())]
    dist.all_gather(sizes, torch.tensor([len(own)], device=own.device))
    lengths = [int(size) for size in sizes]
    # equal shapes for the transfer: every rank sends as many rows as the longest has
    sent = own.new_zeros(int(torch.tensor(lengths).max()), *own.shape[1:])
    sent[: len(own)] = own
    received = [torch.empty_like(sent) for _ in lengths]
    dist.all_gather(received, sent)
    parts = [part[:length] for part, length in zip(received, lengths, strict=True)]
    return torch.cat(parts).movedim(0, dim).to(x.device)


def reduce(x: Tensor, how: Reduction, dim: int = 0) -> Tensor:
    """Return what `sum`, `mean`, `max` or `gather` returns; only the last one looks at ``dim``."""
    known = ("sum", "mean", "max", "gather")
    require(how in known, "how", how, f"must be one of {', '.join(known)}")
    if how == "gather":
        return gather(x, dim)
    return {"sum": sum, "mean": mean, "max": max}[how](x)


def _reduced(x: Tensor, how: Literal["sum", "max"]) -> Tensor:
    if count() == 1:
        return x
    out = x.detach().to(_device(x), copy=True).contiguous()
    dist.all_reduce(out, dist.ReduceOp.SUM if how == "sum" else dist.ReduceOp.MAX)
    return out.to(x.device)


def _device(x: Tensor) -> torch.device:
    """Where the process group takes tensors: NCCL takes those of the GPU only."""
    if "nccl" in dist.get_backend() and x.device.type == "cpu":
        return torch.device("cuda", torch.cuda.current_device())
    return x.device
