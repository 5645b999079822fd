"""The spherical p-spin glass, pure or mixed, with couplings between all spins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor

from lightning_landscape import parallel
from lightning_landscape.energies.glasses._couplings import Couplings
from lightning_landscape.energies.glasses._dense import Dense
from lightning_landscape.energies.glasses._tuples import count
from lightning_landscape.energies.glasses.glass import Glass, check_sizes, uniform_start
from lightning_landscape.errors import require
from lightning_landscape.memory import require_memory
from lightning_landscape.mixture import checked_mixture
from lightning_landscape.rng import Stream

__all__ = ["SphericalPSpin"]

# From this many replicas per sample on, matrix products beat reading half as many bytes.
_PRODUCT_PAYS = 4


class SphericalPSpin(Glass):
    """The spherical p-spin glass in its exactly isotropic Gaussian form.

    H(x) = -sum_p sqrt(a_p) N^((1-p)/2) sum g_{i_1…i_p} x_{i_1} … x_{i_p},   |x|^2 = N

    over all ordered p-tuples, repeated indices included, with independent standard normal g.
    At every N the covariance is <H(x) H(y)> = N f(q) with f(q) = sum_p a_p q^p and q = x.y/N;
    the pure model has a_p = 1/2, so that J = 1 and E/N reaches -sqrt(2 (p-1)/p) at the threshold.

    A finite ``start_temperature`` T plants the start s*: H(x) becomes H(x) - N f(s*.x/N) / T, of
    which s* is an equilibrium configuration, without any burn-in. That is exact where the free
    energy is the annealed one, T > T_K (0.5861 for p = 3); below T_K the start is the planted
    state, which is not an equilibrium state of the model without planting. With shared disorder all
    replicas start at the same s*.

    Couplings and start are functions of the seed: they depend on neither layout, device nor dtype,
    and no checkpoint holds them. Sample r of the disorder depends on the seed and r only.

    Cost: a force reads N^p/p! numbers for each sample of the disorder. From four replicas per
    sample on, and on devices other than a CPU, it consists of matrix products with 2 N^p/p!
    multiplications for each replica instead, whose matrices need twice the memory in addition. The
    energy is free with the force, and a Hessian-vector product costs two forces.

    Args:
        N: the number of spins.
        p: the order of the pure model; without effect if ``mixture`` is given.
        mixture: the a_p > 0 of f by p >= 2.
        replicas: R.
        disorder: ``shared`` by all replicas, or one ``independent`` sample for each.
        start_temperature: at which the start is in equilibrium; infinite for a uniform start. A
            list gives successive groups of replicas, of equal size, a temperature each.
        seed: of couplings and start.
        dtype: ``float32`` or ``float64``.

    Raises:
        UsageError: p < 2, an impossible size or temperature, or couplings that do not fit into
            memory; nothing has been allocated then.

    In units where the covariance is N q^p (DYNAMITE, the examples of pele) energies are sqrt(2)
    times larger and times sqrt(2) shorter.

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
        start_temperature: float | list[float] = math.inf,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        mixture = checked_mixture({p: 0.5} if mixture is None else mixture)
        number = check_sizes(N, replicas, dtype)
        known = ("shared", "independent")
        require(disorder in known, "disorder", disorder, f"must be one of {', '.join(known)}")
        samples = replicas if disorder == "independent" else 1
        start_temperatures = _of_samples(start_temperature, samples)
        many = replicas >= _PRODUCT_PAYS * samples
        _check_memory(N, mixture, samples, 3 if many else 1, number)
        start = uniform_start(replicas, N, seed)
        if disorder == "shared" and math.isfinite(start_temperatures[0]):
            start = start[:1].repeat(replicas, 1)
        interactions = []
        late = parallel.launched() > 1  # they may be divided: `divide_couplings`
        for p, a in mixture.items():
            streams = [Stream(seed, f"couplings/{p}/{s}") for s in range(samples)]
            planted = any(math.isfinite(T) for T in start_temperatures)
            amounts = [(a / T, s) for T, s in zip(start_temperatures, start, strict=False)]
            couplings = Couplings(N, p, a, streams, amounts if planted else (), number)
            interactions.append(Dense(couplings, use_products=many, late=late))
        several = len(set(start_temperatures)) > 1
        started_at = start_temperatures if several else start_temperatures[0]
        super().__init__(start.to(number), interactions, mixture, started_at)
        self.disorder = disorder

    def reference(self) -> dict[str, Any]:
        """Return the model, the start temperature and whether the replicas share the disorder."""
        return {**super().reference(), "disorder": self.disorder}

    def divide_couplings(self) -> None:
        """Share out the couplings among the ranks; from now on every force is collective.

        Each rank keeps 1/ranks of them, as matrix products; where torchrun or SLURM started it, it
        draws no others. All ranks hold all configurations and
        compute the same numbers, to the bit; those of one process to rounding.

        Cost: one sum over the ranks of R x N numbers for each force, and for each order p.

        Raises:
            UsageError: so few spins that the sums would take longer than the products.
        """
        for interaction in cast(Iterable[Dense], self.interactions):
            interaction.divide()

    @torch.no_grad()
    def hessian(self) -> Tensor:
        """Return the matrices of second derivatives of H in R^N, shape (R, N, N).

        On the sphere the curvature in the tangent space is that of H + mu |x|^2 / 2 with the
        multiplier mu = -x.grad H / N. One matrix costs about as much as one or two forces.
        """
        terms = cast(Iterable[Dense], self.interactions)
        matrices = [term.hessian(self.x) for term in terms]
        return -sum(matrices[1:], matrices[0])


def _of_samples(start_temperature: float | list[float], samples: int) -> list[float]:
    """Return the start temperature of each sample of the disorder."""
    given = start_temperature if isinstance(start_temperature, list) else [start_temperature]
    above = len(given) > 0 and all(T > 0 for T in given)
    require(above, "start_temperature", start_temperature, "must be above 0")
    required = f"has {len(given)} temperatures for {samples} samples of the disorder"
    remedy = "use a number of independent samples that they divide"
    require(samples % len(given) == 0, "start_temperature", start_temperature, required, remedy)
    return [T for T in given for _ in range(samples // len(given))]


def _check_memory(
    N: int, mixture: Mapping[int, float], samples: int, copies: int, number: torch.dtype
) -> None:
    needed = sum(
        copies * samples * count(N, p) * number.itemsize + 8 * (p - 1) * count(N, p - 1)
        for p in mixture
    )
    remedy = "lower N or p, use float32 or share the disorder, or take DilutedPSpin"
    require_memory(needed / parallel.launched(), "N", N, remedy)  # the least that a process holds
