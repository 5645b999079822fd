"""The gradient of order p at many points at once, as matrix products."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lightning_landscape import parallel
from lightning_landscape.energies.glasses._couplings import Couplings
from lightning_landscape.energies.glasses._tuples import count, pair_numbers, tuples

if TYPE_CHECKING:
    from lightning_landscape.energies.glasses._cuda import Plan

__all__ = ["Products", "add_factors"]

# Matrices in one product: more of them cost padding and fall out of the cache, fewer cost calls.
_GROUP, _COLUMNS = 16, 4096
# On a GPU every product is a dozen kernels, whatever its size: few of them, padded by a tenth.
_PRODUCTS_ON_GPU = 12


class Products(nn.Module):
    """The gradient of P(x) = sum_u x_{u_1} … x_{u_p-2} x^T S_u x / 2, for many x at once.

    Here u runs over the unordered (p-2)-tuples, and the symmetric matrix S_u holds the couplings
    of the p-tuples that continue to u, those whose two smallest indices do not exceed u_1. With
    y_u = S_u x, which is one matrix product for all x and several u,

        dP/dx_i = sum_u (prod_a x_{u_a}) y_ui + sum_{u, a: u_a = i} (prod_{b != a} x_{u_b}) x.y_u/2

    The matrices hold each coupling twice, whatever p; a matrix that multiplies the monomials of
    order p - 1 would hold it p times.

    Args:
        packed: couplings of S samples, shape (S, count(N, p)); see `_couplings`. Or `Couplings`
            that have not been drawn, of which those in the matrices are.
        N: the number of variables.
        p: the order.
        is_divided: whether each rank keeps the matrices of some u only. Then `gradient` is
            collective, one sum over the ranks of B x N numbers; every rank gets the same bits.
    """

    matrices: Tensor
    outer: Tensor

    def __init__(
        self,
        packed: Tensor | Couplings,
        N: int,
        p: int,
        is_divided: bool = False,
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self.is_divided, self._N = is_divided, N
        self._plan: tuple[torch.device, Plan] | None = None
        if p == 2 and isinstance(packed, Couplings):  # one run of all of them
            packed = packed.drawn().to(device)
        outer = tuples(N, p - 2)
        sizes = outer[0] + 1 if p > 2 else torch.tensor([N])
        runs = torch.tensor([count(K, 2) for K in sizes.tolist()])
        order = sizes.argsort(stable=True)
        if is_divided:
            order = order[_dealt(len(order))]
        device = packed.device if isinstance(packed, Tensor) else device
        on_cpu = device is None or device.type == "cpu"
        if on_cpu:
            # of a divided glass a group spans as many sizes as of a whole one, and pads no more
            group = _GROUP // parallel.count() if is_divided else _GROUP
            together = max(1, min(group, _COLUMNS // N))
        else:
            together = max(1, -(-len(order) // _PRODUCTS_ON_GPU))
        self._sizes = [part.tolist() for part in sizes[order].split(together) if len(part)]
        aligned = 4 if not on_cpu and N % 4 == 0 and N >= 64 else 1  # as `_cuda` reads them
        self._widths = [-(-sizes[-1] // aligned) * aligned for sizes in self._sizes]
        starts = (runs.cumsum(0) - runs)[order].tolist()
        total = sum(len(sizes) * K**2 for sizes, K in self._shapes())
        matrices = torch.zeros(len(packed), total, dtype=packed.dtype, device=device)
        self.register_buffer("matrices", matrices, persistent=False)
        self.register_buffer("outer", outer[:, order].to(device), persistent=False)
        self._fill(packed, starts, pair_numbers(N).to(device))

    def _shapes(self) -> Iterator[tuple[list[int], int]]:
        """Yield of each group the K_u, and the K of its matrices, which end in zeros."""
        return zip(self._sizes, self._widths, strict=True)

    def _fill(self, packed: Tensor | Couplings, starts: list[int], pairs: Tensor) -> None:
        """Write the runs of couplings that begin at ``starts`` into the matrices."""
        symmetric = []
        for (_, block), sizes in zip(self._groups(), self._sizes, strict=True):
            by_tuple = block.unflatten(2, (len(sizes), -1)).unbind(2)
            symmetric += [S[:, :K, :K] for S, K in zip(by_tuple, sizes, strict=True)]
        places = sorted(range(len(starts)), key=starts.__getitem__)
        first = [starts[k] for k in places]
        length = [count(symmetric[k].shape[1], 2) for k in places]
        if isinstance(packed, Tensor):
            runs = (packed[:, i : i + n] for i, n in zip(first, length, strict=True))
        else:
            runs = (run.to(pairs.device) for run in packed.runs(first, length))
        for k, run in zip(places, runs, strict=True):
            S = symmetric[k]
            S[:] = run[:, pairs[: S.shape[1], : S.shape[1]]]
            S.diagonal(dim1=1, dim2=2).mul_(2)

    def _groups(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield of each group the tuples u (p-2, n), and (S_u)_ij at (sample, i, (u, j))."""
        tuple_, number = 0, 0
        for sizes, K in self._shapes():
            n = len(sizes)
            matrices = self.matrices[:, number : number + n * K * K].view(-1, K, n * K)
            yield self.outer[:, tuple_ : tuple_ + n], matrices
            tuple_, number = tuple_ + n, number + n * K * K

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradient at each row of x, real or complex, shape (B, N).

        Row b sees sample b mod S.
        """
        if x.is_cuda and x.dtype == torch.float32 and len(self.outer) and _has_triton():
            out = self._plan_on(x.device).gradient(x, self.matrices)
            return _sum_over_ranks(out) if self.is_divided else out
        add = _add if x.device.type != "cpu" or len(self.outer) == 0 else _add_compiled
        out = torch.zeros_like(x)
        for u, matrices in self._groups():
            if x.is_complex():
                y = torch.complex(_multiply(x.real, matrices), _multiply(x.imag, matrices))
            else:
                y = _multiply(x, matrices)
            add(y, u, x, out)
        return _sum_over_ranks(out) if self.is_divided else out

    def _plan_on(self, device: torch.device) -> Plan:
        """Return the kernel that reads the matrices once."""
        if self._plan is None or self._plan[0] != device:
            from lightning_landscape.energies.glasses._cuda import Plan

            sizes, begins, strides, number = [], [], [], 0
            for group, K in self._shapes():
                sizes += group
                begins += [number + k * K for k in range(len(group))]
                strides += [len(group) * K] * len(group)
                number += len(group) * K**2
            self._plan = device, Plan(self.outer, sizes, begins, strides, self._N)
        return self._plan[1]


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _dealt(count: int) -> Tensor:
    """Return the places of this rank's tuples, by size: dealt to and fro, as the cost is K^2."""
    ranks = parallel.count()
    turn = torch.arange(count) % (2 * ranks)
    return torch.minimum(turn, 2 * ranks - 1 - turn) == parallel.rank()


def _sum_over_ranks(x: Tensor) -> Tensor:
    if x.is_complex():
        return torch.view_as_complex(parallel.sum(torch.view_as_real(x)))
    return parallel.sum(x)


def _multiply(x: Tensor, matrices: Tensor) -> Tensor:
    """Return y_u = S_u x for each row of x and each u, shape (B, n, K)."""
    S, K, _ = matrices.shape
    rows = x[:, :K].view(-1, S, K).transpose(0, 1)  # (S, B/S, K)
    return torch.bmm(rows, matrices).transpose(0, 1).reshape(len(x), -1, K)


def _add(y: Tensor, u: Tensor, x: Tensor, out: Tensor) -> None:
    """Add to ``out`` (B, N) what y (B, n, K) contributes to the gradient."""
    K = y.shape[2]
    if len(u) == 0:
        out[:, :K] += y[:, 0]
        return
    factors = math.prod([x[:, index] for index in u[1:]], start=x[:, u[0]])  # (B, n)
    out[:, :K] += torch.bmm(factors.unsqueeze(1), y).squeeze(1)
    add_factors(out, torch.bmm(y, x[:, :K, None]).squeeze(2) / 2, u, x)


def add_factors(out: Tensor, half: Tensor, u: Tensor, x: Tensor) -> Tensor:
    """Add to ``out`` (B, N) the derivatives of each prod_a x_{u_a} times ``half`` (B, n)."""
    if len(u) == 1:  # every variable once at most
        return out.index_add_(1, u[0], half)
    rows = torch.arange(len(x), device=x.device).unsqueeze(1)
    for a in range(len(u)):
        others = [x[:, index] for b, index in enumerate(u) if b != a]
        # adds in a fixed order, as `index_add_` on a GPU does not
        out.index_put_((rows, u[a].unsqueeze(0)), math.prod(others, start=half), accumulate=True)
    return out


def _add_compiled(y: Tensor, u: Tensor, x: Tensor, out: Tensor) -> None:
    """Do the same in one pass over y."""
    from lightning_landscape.energies.glasses._kernels import add_products

    add_products(y.numpy(), tuple(u.numpy()), x.numpy(), out.numpy())
