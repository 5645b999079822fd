"""The spherical p-spin glass, pure or mixed, with couplings between all spins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, cast

import torch
from torch import Tensor

from lightning_landscape.energies._couplings import curvature, draw_, plant_, unfold
from lightning_landscape.energies._glass import Glass, check_model, uniform_start
from lightning_landscape.energies._memory import require_memory
from lightning_landscape.energies._polynomial import Interaction, along
from lightning_landscape.energies._tuples import count, derivatives, monomials, tuples
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = ["SphericalPSpin"]

# From this many replicas on, one matrix product for all beats reading fewer bytes for each.
_PRODUCT_PAYS = 4
# The monomials of a matrix product are made in blocks of so many numbers, which stay in cache.
_CACHE_BLOCK, _DEVICE_BLOCK = 2**17, 2**24


class SphericalPSpin(Glass):
    """The spherical p-spin glass in its exactly isotropic Gaussian form.

    H(x) = -sum_p sqrt(a_p) N^((1-p)/2) sum g_{i_1…i_p} x_{i_1} … x_{i_p},   |x|^2 = N

    over all ordered p-tuples, repeated indices included, with independent standard normal g.
    At every N the covariance is <H(x) H(y)> = N f(q) with f(q) = sum_p a_p q^p and q = x.y/N;
    the pure model has a_p = 1/2, so that J = 1 and E/N reaches -sqrt(2 (p-1)/p) at the threshold.

    A finite ``start_temperature`` T plants the start s*: H(x) becomes H(x) - N f(s*.x/N) / T, of
    which s* is an equilibrium configuration, without any burn-in. That is exact where the free
    energy is the annealed one, T > T_K (0.5861 for p = 3); below T_K the start is the planted
    state, and no equilibrium of the unplanted model. With shared disorder all replicas start at
    the same s*.

    Couplings and start are functions of the seed: they depend on neither layout, device nor dtype,
    and no checkpoint holds them. Sample r of the disorder depends on the seed and r only.

    A step costs, for each disorder sample, the reading of N^p/p! numbers (or, from four replicas a
    sample on and on accelerators, a matrix product of N^p/(p-1)! multiplications a replica); the
    energy comes with the force, and a Hessian-vector product costs two forces. Memory: N^p/p!
    numbers a sample, and p times more in addition for the matrix.

    Args:
        N: the number of spins.
        p: the order of the pure model; without effect if ``mixture`` is given.
        mixture: the a_p > 0 of f by p >= 2.
        replicas: R.
        disorder: ``shared`` by all replicas, or one ``independent`` sample for each.
        start_temperature: at which the start is in equilibrium; infinite for a uniform start.
        seed: of couplings and start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: p < 2, an impossible size or temperature, or couplings that do not fit into
            memory; nothing has been allocated then.

    Source: Crisanti, Sommers 1992, Z. Phys. B 87, 341; Crisanti, Leuzzi 2004, cond-mat/0406649.

    >>> energy = SphericalPSpin(N=64, p=3, replicas=4, start_temperature=0.8, dtype="float64")
    >>> energy().shape
    torch.Size([4])
    """

    def __init__(
        self,
        N: int,
        p: int = 3,
        mixture: Mapping[int, float] | None = None,
        replicas: int = 1,
        disorder: Literal["shared", "independent"] = "shared",
        start_temperature: float = math.inf,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        mixture = dict(sorted((mixture or {p: 0.5}).items()))
        number = check_model(N, replicas, dtype, mixture)
        known = ("shared", "independent")
        require(disorder in known, "disorder", disorder, f"must be one of {', '.join(known)}")
        require(start_temperature > 0, "start_temperature", start_temperature, "must be above 0")
        samples = replicas if disorder == "independent" else 1
        _check_memory(N, mixture, samples, replicas, number)
        start = uniform_start(replicas, N, seed)
        if disorder == "shared" and math.isfinite(start_temperature):
            start = start[:1].repeat(replicas, 1)
        interactions = []
        for p, a in mixture.items():
            packed = torch.empty(samples, count(N, p), dtype=number)
            for s, couplings in enumerate(packed):
                draw_(couplings, N, p, a, Stream(seed, f"couplings/{p}/{s}"))
                if math.isfinite(start_temperature):
                    plant_(couplings, N, p, a / start_temperature, start[s])
            interactions.append(_Dense(packed, N, p, _uses_matrix(samples, replicas)))
        super().__init__(start.to(number), interactions, mixture, start_temperature)

    @torch.no_grad()
    def hessian(self) -> Tensor:
        """Return the matrices of second derivatives of H in R^N, shape (R, N, N).

        On the sphere the curvature in the tangent space is that of H + mu |x|^2 / 2 with the
        multiplier mu = -x.grad H / N. All of them cost about one force, at N^p/p! reads a sample.
        """
        terms = cast(Iterable[_Dense], self.interactions)
        matrices = [curvature(term.packed, self.x.detach(), term.p)[1] for term in terms]
        return -torch.stack(matrices).sum(0)


def _uses_matrix(samples: int, replicas: int) -> bool:
    return replicas >= _PRODUCT_PAYS * samples


def _check_memory(
    N: int, mixture: Mapping[int, float], samples: int, replicas: int, number: torch.dtype
) -> None:
    needed = 0
    for p in mixture:
        numbers = samples * count(N, p)
        if _uses_matrix(samples, replicas):
            numbers += samples * N * count(N, p - 1)
        needed += numbers * number.itemsize + 8 * (p - 1) * count(N, p - 1)
    remedy = "lower N or p, use float32 or share the disorder, or take DilutedPSpin"
    require_memory(needed, "N", N, remedy)


class _Dense(Interaction):
    """The interaction of order p between all spins, for S samples of the disorder.

    S is R or 1, so row b of x sees sample b mod S.

    Args:
        packed: the couplings, shape (S, count(N, p)).
        N: the number of spins.
        p: the order.
        use_matrix: multiply by the unfolded couplings on a CPU too.
    """

    packed: Tensor
    rest: Tensor
    matrix: Tensor | None

    def __init__(self, packed: Tensor, N: int, p: int, use_matrix: bool) -> None:
        super().__init__()
        self.N, self.p, self.use_matrix = N, p, use_matrix
        # functions of the seed, so no checkpoint needs them
        self.register_buffer("packed", packed, persistent=False)
        self.register_buffer("rest", tuples(N, p - 1), persistent=False)
        self.register_buffer("matrix", None, persistent=False)

    def force(self, x: Tensor) -> Tensor:
        if self.use_matrix or x.device.type != "cpu":
            return self._multiply(monomials, x)
        return self._read_packed(x)

    def force_along(self, x: Tensor, v: Tensor) -> Tensor:
        if self.use_matrix or x.device.type != "cpu":
            return self._multiply(derivatives, x, v)
        return along(self._read_packed, x, v)

    def _read_packed(self, x: Tensor) -> Tensor:
        """Return the force, shape (B, N), reading each coupling once."""
        from lightning_landscape.energies._kernels import packed_gradient

        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        packed, rest = self.packed.numpy(), tuple(self.rest.numpy())
        rows, forces = x.detach().contiguous().numpy(), out.numpy()

        def work(first: int, last: int) -> None:
            packed_gradient(packed, rest, rows[first:last], first, forces[first:last])

        _in_threads(work, len(x))
        return out

    def _multiply(self, columns: Callable[..., Tensor], *vectors: Tensor) -> Tensor:
        """Return W @ columns(u, *vectors) over all tuples u, for all rows at once, shape (B, N)."""
        if self.matrix is None:
            self.matrix = torch.stack([unfold(z, self.N, self.p) for z in self.packed])
        (S, N, n), B = self.matrix.shape, len(vectors[0])
        sites = [v.t().contiguous() for v in vectors]  # (N, B)
        out = sites[0].new_zeros(S, N, B // S)
        blocks = math.ceil(n * B / (_CACHE_BLOCK if out.device.type == "cpu" else _DEVICE_BLOCK))
        size = math.ceil(n / blocks)
        for first in range(0, n, size):
            u = slice(first, first + size)
            block = columns(self.rest[:, u], *sites).unflatten(1, (-1, S)).permute(2, 0, 1)
            out = torch.baddbmm(out, self.matrix[:, :, u], block)  # (S, N, B / S)
        return out.permute(2, 0, 1).reshape(B, N)


def _in_threads(work: Callable[[int, int], None], rows: int) -> None:
    """Call ``work(first, last)`` on as many parts of the rows as torch may use threads."""
    parts = min(torch.get_num_threads(), rows)
    if parts == 1:
        work(0, rows)
        return
    ends = [rows * k // parts for k in range(parts + 1)]
    # a new pool for each call: one that is kept would not survive a fork
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, ends[:-1], ends[1:]))
