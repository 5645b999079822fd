"""A quadratic landscape with a given spectrum: everything about it is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require, require_whole
from lightning_landscape.memory import require_memory, require_memory_of_replicas
from lightning_landscape.rng import Stream

__all__ = ["Quadratic"]


class Quadratic(Energy):
    """E(x) = x^T A x / 2, where the symmetric matrix A has the given eigenvalues.

    At temperature T the stationary state is Gaussian with covariance T A^-1; the mean energy is
    N T / 2.

    Args:
        spectrum: the N eigenvalues of A, of any sign.
        replicas: R.
        rotate: whether the eigenvectors are a random orthogonal basis rather than the axes.
        start: standard deviation of the random start around the stationary point 0.
        seed: of the basis and the start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an empty or infinite spectrum, or an impossible size.

    >>> energy = Quadratic(spectrum=[1.0, 3.0], dtype="float64")
    >>> energy.load_configuration(torch.tensor([[1.0, 1.0]]))
    >>> energy().item()
    2.0
    """

    extensive: ClassVar[bool] = True
    matrix: Tensor

    def __init__(
        self,
        spectrum: Sequence[float],
        replicas: int = 1,
        rotate: bool = False,
        start: float = 1.0,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        require(dtype in ("float32", "float64"), "dtype", dtype, "must be float32 or float64")
        require_whole("replicas", replicas)
        require(len(spectrum) >= 1, "spectrum", spectrum, "needs at least one eigenvalue")
        finite = all(math.isfinite(eigenvalue) for eigenvalue in spectrum)
        require(finite, "spectrum", spectrum, "must be finite")
        require(0 <= start < math.inf, "start", start, "is a standard deviation")
        self.replicas = replicas
        number, N = getattr(torch, dtype), len(spectrum)
        require_memory(3 * 8 * N**2, "spectrum", f"{N} eigenvalues", "give fewer")
        require_memory_of_replicas(replicas, N)
        stream, x = Stream(seed, "start"), torch.empty(replicas, N, dtype=torch.float64)
        for r, row in enumerate(x):
            stream.normal_(row, step=r)
        self.x = nn.Parameter((start * x).to(number))
        basis = torch.eye(N, dtype=torch.float64)
        if rotate:
            basis = _random_basis(N, Stream(seed, "basis"))
        matrix = basis * torch.as_tensor(spectrum, dtype=torch.float64) @ basis.t()
        # a function of the arguments, so no checkpoint needs it
        self.register_buffer("matrix", matrix.to(number), persistent=False)

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (R,). There are no data: ``batch`` makes no difference."""
        return torch.linalg.vecdot(self.x @ self.matrix, self.x) / 2

    def hessian(self) -> Tensor:
        """Return A for each replica, shape (R, N, N)."""
        return self.matrix.expand(self.replicas, -1, -1)


def _random_basis(N: int, stream: Stream) -> Tensor:
    """Return a Haar-distributed orthogonal matrix, float64 (Mezzadri 2007, math-ph/0609050)."""
    Q, R = torch.linalg.qr(stream.normal_(torch.empty(N, N, dtype=torch.float64), step=0))
    return Q * R.diagonal().sign()
