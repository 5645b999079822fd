"""The spherical perceptron: the soluble limit of jamming in networks."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.glasses.glass import uniform_start
from lightning_landscape.errors import require, require_whole
from lightning_landscape.memory import require_memory
from lightning_landscape.replicas import select
from lightning_landscape.rng import Stream
from lightning_landscape.sphere import Sphere

__all__ = ["SphericalPerceptron"]


class SphericalPerceptron(Energy):
    """E(x) = sum_mu max(0, Delta_mu)^2 / 2 with Delta_mu = kappa - xi_mu . x / sqrt(N), |x|^2 = N.

    A network without hidden layers whose weights have a fixed norm, so that the margin kappa means
    something; the P patterns xi, times their labels, are standard normal. For kappa >= 0 it is
    convex, and jams at P/N = alpha_c(kappa), which is known exactly (`perceptron_capacity`). For
    kappa < 0 it is not, and at jamming it is in the class of hard spheres: N_Delta = N, and
    P(Delta) goes as Delta^0.42311 above and |Delta|^-0.41269 below 0.

    Patterns and start are functions of the seed; those of replica r depend on the seed and r only.
    A gradient is two products with the patterns.

    Args:
        N: the number of weights.
        samples: P, the number of patterns.
        margin: kappa, of any sign.
        replicas: R.
        disorder: patterns ``shared`` by all replicas, or ``independent`` ones for each.
        seed: of patterns and start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: an impossible size or margin, or patterns that do not fit into memory.

    Source: Gardner 1988, J. Phys. A 21, 257; Franz, Parisi 2016, J. Phys. A 49, 145001,
    arXiv:1501.03397.

    >>> energy = SphericalPerceptron(N=50, samples=20, margin=-5.0, replicas=3)
    >>> energy()  # all satisfied
    tensor([0., 0., 0.], grad_fn=<DivBackward0>)
    """

    extensive: ClassVar[bool] = True
    patterns: Tensor

    def __init__(
        self,
        N: int,
        samples: int,
        margin: float = 0.0,
        replicas: int = 1,
        disorder: Literal["shared", "independent"] = "independent",
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        for name, size in {"samples": samples, "replicas": replicas}.items():
            require_whole(name, size)
        require_whole("N", N, least=2)
        require(math.isfinite(margin), "margin", margin, "must be finite")
        known = ("shared", "independent")
        require(disorder in known, "disorder", disorder, f"must be one of {', '.join(known)}")
        require(dtype in ("float32", "float64"), "dtype", dtype, "must be float32 or float64")
        number, sets = getattr(torch, dtype), replicas if disorder == "independent" else 1
        needed = sets * samples * N * number.itemsize
        require_memory(needed, "samples", samples, f"lower it, N = {N} or replicas = {replicas}")
        self.replicas, self.margin, self.constraint = replicas, margin, Sphere(N)
        self.x = nn.Parameter(uniform_start(replicas, N, seed).to(number))
        stream, patterns = Stream(seed, "patterns"), torch.empty(sets, samples, N, dtype=number)
        for s, each in enumerate(patterns):
            stream.normal_(each, step=s)
        # a function of the arguments, so no checkpoint needs it
        self.register_buffer("patterns", patterns, persistent=False)

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (R,), of all patterns: ``batch`` makes no difference."""
        return self._gaps().relu().square().sum(1) / 2

    @torch.no_grad()
    def gaps(self) -> Tensor:
        """Return the gaps Delta, shape (R, P); a pattern is unsatisfied where it is positive."""
        return self._gaps()

    @torch.no_grad()
    def hessian(self) -> Tensor:
        """Return the matrices (1/N) sum xi xi^T over the unsatisfied patterns, shape (R, N, N)."""
        unsatisfied = (self._gaps() > 0).to(self.x.dtype).unsqueeze(-1)
        return (unsatisfied * self.patterns).mT @ self.patterns / self.N

    def reference(self) -> dict[str, Any]:
        """Return the margin and the load alpha = P/N."""
        load = self.patterns.shape[1] / self.N
        return {"theory": "perceptron", "margin": self.margin, "load": load}

    def only(self, replicas: Tensor) -> Energy:
        """Return an energy of some of the replicas, with their patterns."""
        some = super().only(replicas)
        assert isinstance(some, SphericalPerceptron)
        if len(self.patterns) > 1:
            some.patterns = select(self.patterns, replicas)
        return some

    def _gaps(self) -> Tensor:
        if len(self.patterns) == 1:
            fields = self.x @ self.patterns[0].mT
        else:
            fields = torch.bmm(self.patterns, self.x.unsqueeze(-1)).squeeze(-1)
        return self.margin - fields / math.sqrt(self.N)
