"""The diluted spherical p-spin glass, for large N: every spin is in c N of the tuples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_landscape.energies.glasses._polynomial import Interaction, along
from lightning_landscape.energies.glasses._threads import in_threads
from lightning_landscape.energies.glasses.glass import Glass, check_sizes, uniform_start
from lightning_landscape.errors import require
from lightning_landscape.memory import require_memory
from lightning_landscape.mixture import checked_mixture
from lightning_landscape.rng import Stream

__all__ = ["DilutedPSpin"]

_LANES = 16  # replicas in one call of the kernel: their configurations fit into the L2 cache
# numbers in one intermediate array of the version in torch: the cache of a core, a share of a GPU
_BLOCK, _BLOCK_ON_GPU = 2**18, 2**26


class DilutedPSpin(Glass):
    """The spherical p-spin glass on a random regular hypergraph.

    H(x) = -sum_t J_t x_{t_1} … x_{t_p},   |x|^2 = N,   J_t normal with variance N / (2 M)

    over M = c N^2 / p tuples t of p different spins; every spin is in exactly c N of them. As N
    grows at fixed c the covariance tends to N q^p / 2, and the dynamics from a random start to
    that of the dense model, at N^(p-2) times less work and memory.

    The tuples form L = c N / p layers. A layer puts all spins into a random cyclic order; its N
    tuples are the windows (n, n+1, n+3, …, n + 2^(p-1) - 1) of that order. All differences within a
    window are different, so that two tuples of a layer share at most one spin.

    Unlike the dense glass, this one has localised states of low energy: with all weight on one
    tuple, E/N is of the order of sqrt(ln N) for p = 3, and N^((p-3)/2) for p > 3. A quench from a
    random start does not find them; ground states are those of another model.

    Memory: 8 M bytes for M tuples, 12 M in float64. Cost of a force: these bytes are read once for
    16 replicas, with p (p - 1) multiplications for each tuple and replica. The disorder is shared
    by all replicas and is a function of the seed, so that no checkpoint holds it.

    Args:
        N: the number of spins.
        p: the order.
        connectivity: c, rounded so that L is an integer; 3/2 gives N^2/2 triplets.
        replicas: R.
        seed: of couplings, tuples and start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: p < 2; fewer spins than a window spans; fewer than one layer; or couplings that
            do not fit into memory.

    >>> energy = DilutedPSpin(N=1000, p=3, connectivity=0.3)
    >>> energy.connectivity, energy.interactions[0].couplings.shape
    (0.3, torch.Size([100, 1000]))
    """

    def __init__(
        self,
        N: int,
        p: int = 3,
        connectivity: float = 1.5,
        replicas: int = 1,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        mixture, number = checked_mixture({p: 0.5}), check_sizes(N, replicas, dtype)
        offsets = tuple(2**k - 1 for k in range(p))
        require(
            2 * offsets[-1] < N, "N", N, f"must be above {2 * offsets[-1]} for p = {p}", "raise N"
        )
        one_layer = p / N
        require(
            one_layer <= connectivity < math.inf,
            "connectivity",
            connectivity,
            f"must be at least p/N = {one_layer}, and finite",
        )
        layers = round(connectivity / one_layer)
        require_memory(
            layers * N * (4 + number.itemsize), "connectivity", connectivity, "lower it or N"
        )
        couplings = torch.empty(layers, N, dtype=number)
        orders = torch.empty(layers, N, dtype=torch.int32)
        normals, permutations = Stream(seed, "couplings"), Stream(seed, "tuples")
        for layer in range(layers):
            J = normals.normal_(torch.empty(N, dtype=torch.float64), step=layer)
            couplings[layer] = J / math.sqrt(2 * layers)
            orders[layer] = permutations.permutation(N, step=layer)
        start = uniform_start(replicas, N, seed).to(number)
        super().__init__(start, [_Windows(couplings, orders, offsets)], mixture)
        self.connectivity = p * layers / N


class _Windows(Interaction):
    """P(x) = sum_{l,n} J_ln prod_k x_{order_l(n + offset_k)}, n cyclic: windows of L cyclic orders.

    Args:
        couplings: J, shape (L, N).
        orders: permutations of 0 … N-1, shape (L, N), int32.
        offsets: of the p spins of a window; increasing, the first 0.
    """

    couplings: Tensor
    orders: Tensor

    def __init__(self, couplings: Tensor, orders: Tensor, offsets: tuple[int, ...]) -> None:
        super().__init__()
        self.p, self.offsets = len(offsets), offsets
        # functions of the seed, so no checkpoint needs them
        self.register_buffer("couplings", couplings, persistent=False)
        self.register_buffer("orders", orders, persistent=False)

    def force(self, x: Tensor) -> Tensor:
        """Return the gradient of P at each row of x, real or complex, shape (B, N)."""
        blocks = [rows.t().contiguous() for rows in x.detach().split(_LANES)]  # (N, B)
        if x.device.type == "cpu":
            forces = self._compiled(blocks)
        else:
            forces = [self._portable(sites) for sites in blocks]
        return torch.cat([force.t() for force in forces])

    def force_along(self, x: Tensor, v: Tensor) -> Tensor:
        """Return the derivative of `force` along the rows of v, shape (B, N)."""
        return along(self.force, x, v)

    def _compiled(self, blocks: list[Tensor]) -> list[Tensor]:
        """Return the forces of blocks of replicas, given and returned in columns, (N, B) each."""
        from lightning_landscape.energies.glasses._kernels import add_windows

        out = [torch.empty_like(sites) for sites in blocks]
        arrays = (self.couplings.numpy(), self.orders.numpy(), self.offsets)

        def work(first: int, last: int) -> None:
            for k in range(first, last):
                add_windows(*arrays, blocks[k].numpy(), out[k].numpy())

        in_threads(work, len(blocks))
        return out

    def _portable(self, sites: Tensor) -> Tensor:
        """Return the force of one block (N, B), by torch on any device."""
        block = _BLOCK if sites.is_cpu else _BLOCK_ON_GPU
        out, layers = torch.zeros_like(sites), max(1, block // sites.numel())
        for J, order in zip(self.couplings.split(layers), self.orders.split(layers), strict=True):
            x = sites.index_select(0, order.flatten()).unflatten(0, order.shape)  # (layers, N, R)
            factors = [x.roll(-k, dims=1) for k in self.offsets]
            forces = torch.zeros_like(x)
            for k, offset in enumerate(self.offsets):
                others = factors[:k] + factors[k + 1 :]
                forces += math.prod(others, start=J.unsqueeze(2)).roll(offset, dims=1)
            out.index_add_(0, order.flatten(), forces.flatten(0, 1))
        return out
