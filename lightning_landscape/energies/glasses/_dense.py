"""The interaction of order p between all spins."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.energies.glasses._couplings import Couplings, curvature
from lightning_landscape.energies.glasses._polynomial import Interaction, along
from lightning_landscape.energies.glasses._products import Products
from lightning_landscape.energies.glasses._threads import in_threads
from lightning_landscape.energies.glasses._tuples import count, tuples
from lightning_landscape.errors import require
from lightning_landscape.memory import require_memory
from lightning_landscape.replicas import select

__all__ = ["Dense"]

_LEAST_TO_DIVIDE = 128  # spins; at 64 two processes are slower than one


class Dense(Interaction):
    """P(x) = sum_t z_t x_{t_1} … x_{t_p} over all unordered p-tuples, for S samples of the z.

    S is R or 1, so row b of x sees sample b mod S.

    Args:
        couplings: the z.
        use_products: take matrix products on a CPU too; other devices always do.
        late: draw them where they are used first, so that `divide` draws this rank's part only.

    Attributes:
        packed: the couplings z, shape (S, count(N, p)), see `_couplings`; (S, 0) where they are
            divided, or not drawn yet.
    """

    packed: Tensor
    rest: Tensor

    def __init__(self, couplings: Couplings, use_products: bool, late: bool = False) -> None:
        super().__init__()
        self.N, self.p, self.use_products = couplings.N, couplings.p, use_products
        self.products: Products | None = None
        self._couplings = couplings if late else None
        packed = torch.empty(len(couplings), 0, dtype=couplings.dtype)
        # functions of the seed, so no checkpoint needs them
        self.register_buffer("packed", packed if late else couplings.drawn(), persistent=False)
        self.register_buffer("rest", tuples(self.N, self.p - 1), persistent=False)

    def draw(self) -> None:
        """Draw the couplings, if that is not done.

        Raises:
            UsageError: they do not fit into memory.
        """
        if self._couplings is not None:
            needed = self.packed.element_size() * len(self.packed) * count(self.N, self.p)
            remedy = "lower N or p, or give --trainer.strategy couplings"
            require_memory(needed, "N", self.N, remedy)
            self.packed = self._couplings.drawn().to(self.packed)
            self._couplings = None

    def force(self, x: Tensor) -> Tensor:
        """Return the gradient of P at each row of x, real or complex, shape (B, N)."""
        divided = self.products is not None and self.products.is_divided
        self.draw()
        if not self.use_products and x.device.type == "cpu" and not divided:
            from lightning_landscape.energies.glasses._kernels import packed_gradient

            x = x.detach().contiguous()
            return self._read_packed(packed_gradient, x, torch.empty_like(x))
        if self.products is None:  # made where it is used, after the move to a device
            remedy = "lower N, or give --trainer.strategy couplings"
            needed = 2.4 * self.packed.nbytes  # each coupling twice, and what pads them
            require_memory(needed, "N", self.N, remedy, x.device)
            self.products = Products(self.packed, self.N, self.p)
        return self.products.gradient(x.detach().contiguous())

    def divide(self) -> None:
        """Keep this rank's part of the couplings; from now on every force is one sum over ranks.

        Raises:
            UsageError: so few spins that the sum would take longer than the products.
        """
        remedy = "run it on one device, or share out replicas: trainer.strategy replicas"
        required = f"must be at least {_LEAST_TO_DIVIDE} for the strategy couplings"
        require(self.N >= _LEAST_TO_DIVIDE, "N", self.N, required, remedy)
        device, source = self.packed.device, self._couplings or self.packed
        made = Products(source, self.N, self.p, is_divided=True, device=device)
        self.products = made.to(self.packed.dtype)
        self.packed, self._couplings = self.packed.new_empty(len(self.packed), 0), None

    def force_along(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the derivative of `force` along the rows of v, shape (B, N)."""
        return along(self.force, x, v)

    def hessian(self, x: Tensor) -> Tensor:
        """Return the second derivatives of P at each row of x, shape (B, N, N)."""
        x = x.detach().contiguous()
        self.draw()
        if self.packed.numel() == 0:  # divided
            return self._hessian_by_columns(x)
        if x.device.type != "cpu":
            return curvature(self.packed, x, self.p)[1]
        from lightning_landscape.energies.glasses._kernels import packed_hessian

        return self._read_packed(packed_hessian, x, x.new_empty(*x.shape, self.N))

    def _hessian_by_columns(self, x: Tensor) -> Tensor:
        """Return the Hessian from N derivatives of the force, at once: one sum over the ranks."""
        R = len(x)
        unit = torch.eye(self.N, dtype=x.dtype, device=x.device).repeat_interleave(R, 0)
        columns = self.force_along(x.repeat(self.N, 1), unit)
        return columns.view(self.N, R, self.N).transpose(0, 1)

    def keep(self, replicas: Tensor) -> None:
        """Keep the samples of these replicas, where each has its own."""
        self.draw()
        if len(self.packed) > 1:
            if self.packed.numel():
                self.packed = select(self.packed, replicas)
            else:
                self.packed = self.packed.new_empty(len(replicas), 0)
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
