"""The gradient of order p at many points at once, as matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lightning_landscape.energies._tuples import count, pair_numbers, tuples

__all__ = ["Products"]

_GROUP = 16  # matrices in one product; padding them to one size wastes 24/N of the work


class Products(nn.Module):
    """The gradient of P(x) = sum_u x_{u_1} … x_{u_p-2} x^T S_u x / 2, for many x at once.

    Here u runs over the unordered (p-2)-tuples, and the symmetric matrix S_u holds the couplings
    of the p-tuples that continue to u, those whose two smallest indices do not exceed u_1. With
    y_u = S_u x, which is one matrix product for all x and several u,

        dP/dx_i = sum_u (prod_a x_{u_a}) y_ui + sum_{u, a: u_a = i} (prod_{b != a} x_{u_b}) x.y_u/2

    The matrices hold each coupling twice, whatever p; a matrix that multiplies the monomials of
    order p - 1 would hold it p times.

    Args:
        packed: couplings of S samples, shape (S, count(N, p)); see `_couplings`.
        N: the number of variables.
        p: the order.
    """

    matrices: Tensor
    outer: Tensor

    def __init__(self, packed: Tensor, N: int, p: int) -> None:
        super().__init__()
        outer = tuples(N, p - 2)
        sizes = outer[0] + 1 if p > 2 else torch.tensor([N])
        runs = torch.tensor([count(K, 2) for K in sizes.tolist()])
        order = sizes.argsort(stable=True)
        self._sizes = [part.tolist() for part in sizes[order].split(_GROUP)]
        starts = (runs.cumsum(0) - runs)[order].split(_GROUP)
        total = sum(len(sizes) * sizes[-1] ** 2 for sizes in self._sizes)
        matrices, pairs = packed.new_zeros(len(packed), total), pair_numbers(N).to(packed.device)
        self.register_buffer("matrices", matrices, persistent=False)
        self.register_buffer("outer", outer[:, order].to(packed.device), persistent=False)
        for (_, group), sizes, first in zip(self._groups(), self._sizes, starts, strict=True):
            for S, K, start in zip(group.unbind(1), sizes, first.tolist(), strict=True):
                S[:, :K, :K] = packed[:, start : start + count(K, 2)][:, pairs[:K, :K]]
                S.diagonal(dim1=1, dim2=2).mul_(2)

    def _groups(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each group its tuples u (p-2, n) and matrices S_u (samples, n, K, K)."""
        tuple_, number = 0, 0
        for sizes in self._sizes:
            n, K = len(sizes), sizes[-1]
            matrices = self.matrices[:, number : number + n * K * K]
            yield self.outer[:, tuple_ : tuple_ + n], matrices.unflatten(1, (n, K, K))
            tuple_, number = tuple_ + n, number + n * K * K

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradient at each row of x, real or complex, shape (B, N).

        Row b sees sample b mod S.
        """
        S, sites = len(self.matrices), x.t().contiguous()  # (N, B)
        parts = torch.view_as_real(sites) if x.is_complex() else sites.unsqueeze(2)
        columns = parts.unflatten(1, (-1, S)).permute(2, 0, 1, 3).flatten(2)  # (S, N, B/S · parts)
        add = _add if x.device.type != "cpu" or len(self.outer) == 0 else _add_compiled
        out = torch.zeros_like(sites)
        for u, matrices in self._groups():
            n, K = matrices.shape[1:3]
            y = matrices.flatten(1, 2) @ columns[:, :K]
            y = y.unflatten(2, (-1, parts.shape[2])).permute(1, 2, 0, 3)
            y = y.reshape(n, K, *parts.shape[1:])
            add(torch.view_as_complex(y) if x.is_complex() else y.squeeze(3), u, sites, out)
        return out.t().contiguous()


def _add(y: Tensor, u: Tensor, x: Tensor, out: Tensor) -> None:
    """Add to ``out`` (N, B) what y = S_u x (n, K, B) contributes to the gradient."""
    factors = list(x[u])  # of (n, B)
    out[: y.shape[1]] += (math.prod(factors, start=y.new_ones(())) * y.transpose(0, 1)).sum(1)
    half = (x[: y.shape[1]] * y).sum(1) / 2
    for a, index in enumerate(u):
        out.index_add_(0, index, math.prod(factors[:a] + factors[a + 1 :], start=half))


def _add_compiled(y: Tensor, u: Tensor, x: Tensor, out: Tensor) -> None:
    """Do the same in one pass over y."""
    from lightning_landscape.energies._kernels import add_products

    add_products(y.numpy(), tuple(u.numpy()), x.numpy(), out.numpy())
