"""The interaction of order p between all spins."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.energies.glasses._couplings import curvature
from lightning_landscape.energies.glasses._polynomial import Interaction, along
from lightning_landscape.energies.glasses._products import Products
from lightning_landscape.energies.glasses._threads import in_threads
from lightning_landscape.energies.glasses._tuples import tuples
from lightning_landscape.replicas import select

__all__ = ["Dense"]


class Dense(Interaction):
    """P(x) = sum_t z_t x_{t_1} … x_{t_p} over all unordered p-tuples, for S samples of the z.

    S is R or 1, so row b of x sees sample b mod S.

    Args:
        packed: the couplings z, shape (S, count(N, p)); see `_couplings`.
        N: the number of spins.
        p: the order.
        use_products: take matrix products on a CPU too; other devices always do.
    """

    packed: Tensor
    rest: Tensor

    def __init__(self, packed: Tensor, N: int, p: int, use_products: bool) -> None:
        super().__init__()
        self.N, self.p, self.use_products = N, p, use_products
        self.products: Products | None = None
        # functions of the seed, so no checkpoint needs them
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("rest", tuples(N, p - 1), persistent=False)

    def force(self, x: Tensor) -> Tensor:
        """Return the gradient of P at each row of x, real or complex, shape (B, N)."""
        if not self.use_products and x.device.type == "cpu":
            from lightning_landscape.energies.glasses._kernels import packed_gradient

            x = x.detach().contiguous()
            return self._read_packed(packed_gradient, x, torch.empty_like(x))
        if self.products is None:  # made where it is used, after the move to a device
            self.products = Products(self.packed, self.N, self.p)
        return self.products.gradient(x.detach().contiguous())

    def force_along(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the derivative of `force` along the rows of v, shape (B, N)."""
        return along(self.force, x, v)

    def hessian(self, x: Tensor) -> Tensor:
        """Return the second derivatives of P at each row of x, shape (B, N, N)."""
        x = x.detach().contiguous()
        if x.device.type != "cpu":
            return curvature(self.packed, x, self.p)[1]
        from lightning_landscape.energies.glasses._kernels import packed_hessian

        return self._read_packed(packed_hessian, x, x.new_empty(*x.shape, self.N))

    def keep(self, replicas: Tensor) -> None:
        """Keep the samples of these replicas, where each has its own."""
        if len(self.packed) > 1:
            self.packed = select(self.packed, replicas)
            if self.products is not None:
                self.products.matrices = select(self.products.matrices, replicas)

    def _read_packed(self, kernel: Callable[..., None], x: Tensor, out: Tensor) -> Tensor:
        """Fill ``out`` by a kernel that reads each coupling once, and return it."""
        packed, rest = self.packed.numpy(), tuple(self.rest.numpy())
        rows, results = x.numpy(), out.numpy()

        def work(first: int, last: int) -> None:
            kernel(packed, rest, rows[first:last], first, results[first:last])

        in_threads(work, len(x))
        return out
