"""The ranks of a distributed run: which one this is, what it owns, what all of them hold together.

Everything here is collective: every rank calls it, in the same order, with tensors of one dtype.
Without a process group there is one rank, and each reduction is the identity.
"""

from __future__ import annotations

import builtins
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lightning_landscape.errors import require

__all__ = [
    "Parts",
    "Reduction",
    "begins",
    "count",
    "cut",
    "gather",
    "is_cut",
    "launched",
    "load",
    "local",
    "lost",
    "max",
    "mean",
    "meet",
    "rank",
    "reduce",
    "save",
    "share",
    "sum",
    "teams",
    "whole",
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


def launched() -> int:
    """Return how many processes a launcher has started for this run, at least 1.

    Known, from the environment that torchrun, SLURM and Lightning give, before they have met.
    """
    slurm = os.environ.get("SLURM_NTASKS", "1") if "SLURM_PROCID" in os.environ else "1"
    told = (os.environ.get("WORLD_SIZE", "1"), slurm)
    return builtins.max(count(), *(int(number) for number in told if number.isdigit()))


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


def share(total: int, team: int = 1) -> range:
    """Return the replicas, of ``total``, that this rank owns: a block; sizes differ by at most 1.

    Args:
        total: how many there are.
        team: how many successive ranks own the same ones.

    >>> share(5)
    range(0, 5)
    """
    require(total >= 0, "total", total, "must be at least 0")
    k, of = rank() // team, count() // team
    return range(k * total // of, (k + 1) * total // of)


def teams(size: int) -> Any:
    """Return the group of this rank, of groups of ``size`` successive ranks; None for size 1."""
    if size == 1:
        return None
    made = [dist.new_group([*range(k, k + size)]) for k in range(0, count(), size)]
    return made[rank() // size]


def sum(x: Tensor, team: Any = None) -> Tensor:
    """Return the sum over the ranks, elementwise; ``x`` has one shape on all of them.

    Args:
        x: what is summed.
        team: the ranks to sum over, see `teams`; None for all.
    """
    return _reduced(x, "sum", team)


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


def _reduced(x: Tensor, how: Literal["sum", "max"], team: Any = None) -> Tensor:
    if count() == 1:
        return x
    out = x.detach().to(_device(x), copy=True).contiguous()
    dist.all_reduce(out, dist.ReduceOp.SUM if how == "sum" else dist.ReduceOp.MAX, group=team)
    return out.to(x.device)


def _device(x: Tensor) -> torch.device:
    """Where the process group takes tensors: NCCL takes those of the GPU only."""
    if "nccl" in dist.get_backend() and x.device.type == "cpu":
        return torch.device("cuda", torch.cuda.current_device())
    return x.device


# tensors of which each rank holds a part (FSDP2)


def cut(module: nn.Module, mesh: Any, axis: Callable[[nn.Parameter], int]) -> None:
    """Cut the parameters of a module among the ranks: FSDP2, `fully_shard`, all in one group.

    ``forward`` and its gradient then gather them, and the mean over the ranks of the gradient is
    left to each rank for its part.

    Args:
        module: changed in place; its parameters become other tensors, `DTensor`.
        mesh: of the devices, with the one dimension along which to cut.
        axis: along which to cut a parameter.
    """
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard

    def placement(p: nn.Parameter) -> Shard:
        return Shard(axis(p))

    # else the last parameters that were gathered would serve an evaluation after a step
    fully_shard(module, mesh=mesh, shard_placement_fn=placement, reshard_after_forward=True)


def is_cut(x: Tensor) -> bool:
    """Return whether each rank holds a part of ``x`` only, a `DTensor`.

    >>> is_cut(torch.zeros(2))
    False
    """
    return hasattr(x, "to_local")


def local(x: Tensor) -> Tensor:
    """Return what this rank holds of ``x``, in the same memory; all of it unless it is cut.

    Where no gradients are recorded it is the same object every time.
    """
    part: Any = x
    return part.to_local() if is_cut(x) else x


def whole(x: Tensor) -> Tensor:
    """Return the whole of ``x`` on every rank, a copy, without a graph."""
    part: Any = x.detach()
    return part.full_tensor() if is_cut(x) else part.clone()


def begins(x: Tensor) -> tuple[int, ...]:
    """Return the index in the whole tensor, along each axis, at which `local` begins.

    >>> begins(torch.zeros(2, 3))
    (0, 0)
    """
    first = [0] * x.dim()
    if is_cut(x):
        cut_one: Any = x
        for dim, placement in enumerate(cut_one.placements):
            if placement.is_shard():
                ranks, axis = cut_one.device_mesh.size(dim), placement.dim
                length = -(-x.shape[axis] // ranks)  # as torch.chunk cuts it
                start = cut_one.device_mesh.get_local_rank(dim) * length
                required = "is cut more than once along one axis"
                require(first[axis] == 0, "parameter of shape", tuple(x.shape), required)
                first[axis] = min(start, x.shape[axis])
    return tuple(first)


class Parts:
    """Configurations (R, N) made of all parameters, of which each rank holds all, or a part.

    A rank's part is what it holds of the parameters, one after the other, each flattened. Of
    parameters that are cut there is one replica, R = 1, and `join` and `total` are collective.

    Args:
        parameters: the replica axis first, or, for one replica, of any shape.
        replicas: R.

    Attributes:
        is_cut: whether a rank holds a part only.
    """

    def __init__(self, parameters: Sequence[Tensor], replicas: int = 1) -> None:
        self.is_cut, self._replicas = any(map(is_cut, parameters)), replicas
        self._shapes = [tuple(p.shape) for p in parameters]
        self._begins = [begins(p) for p in parameters]
        self._held = [tuple(local(p).shape) if _owns(p) else (0,) for p in parameters]

    def of(self, parameters: Sequence[Tensor]) -> Tensor:
        """Return this rank's part of the present values, a copy of shape (R, n)."""
        if not self.is_cut:
            dense = (p.detach().to_dense() for p in parameters)
            return torch.cat([p.reshape(self._replicas, -1) for p in dense], dim=1)
        pairs = zip(parameters, self._held, strict=True)
        parts = [local(p.detach()).flatten()[: math.prod(shape)] for p, shape in pairs]
        return torch.cat(parts).unsqueeze(0)

    def join(self, part: Tensor) -> Tensor:
        """Return the whole, shape (R, N), on every rank, from this rank's part."""
        if not self.is_cut:
            return part
        pieces = []
        sizes = [math.prod(shape) for shape in self._held]
        for i, own in enumerate(part.flatten().split(sizes)):
            whole = own.new_zeros(self._shapes[i])
            if own.numel():
                self._window(whole, i).copy_(own.view(self._held[i]))
            pieces.append(whole.flatten())
        return sum(torch.cat(pieces)).unsqueeze(0)

    def split(self, whole: Tensor) -> Tensor:
        """Return this rank's part, shape (R, n), of a whole of shape (R, N); undoes `join`."""
        if not self.is_cut:
            return whole
        sizes = [math.prod(shape) for shape in self._shapes]
        parts = []
        for i, values in enumerate(whole.flatten().split(sizes)):
            here = math.prod(self._held[i]) > 0
            mine = self._window(values.view(self._shapes[i]), i) if here else values[:0]
            parts.append(mine.flatten())
        return torch.cat(parts).unsqueeze(0)

    def total(self, x: Tensor) -> Tensor:
        """Return the sum over the ranks of what each has summed over its part."""
        return sum(x) if self.is_cut else x

    def _window(self, whole: Tensor, i: int) -> Tensor:
        """Return the view of a whole parameter that this rank holds."""
        for axis, (first, length) in enumerate(zip(self._begins[i], self._held[i], strict=True)):
            whole = whole.narrow(axis, first, length)
        return whole


def _owns(x: Tensor) -> bool:
    """Whether this rank is the one, of those that hold the same, whose part counts."""
    if not is_cut(x):
        return rank() == 0
    part: Any = x
    copies = [dim for dim, placement in enumerate(part.placements) if not placement.is_shard()]
    return all(part.device_mesh.get_local_rank(dim) == 0 for dim in copies)


def save(tensors: dict[str, Tensor], folder: Path) -> None:
    """Write tensors by name to a folder, each rank what it holds of them; collective."""
    from torch.distributed import checkpoint

    checkpoint.save(dict(tensors), checkpoint_id=folder)


def load(tensors: dict[str, Tensor], folder: Path) -> None:
    """Fill tensors by name, cut or whole, with what `save` has written; collective."""
    from torch.distributed import checkpoint

    checkpoint.load(dict(tensors), checkpoint_id=folder)
