"""Parallel tempering: configurations change places between the temperatures of a ladder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

if TYPE_CHECKING:
    from lightning_landscape.dynamics.samplers.thermal import Thermal

__all__ = ["ParallelTempering"]


class ParallelTempering:
    r"""Swaps between neighbouring temperatures: the ``exchange`` of any sampler.

    Before every ``every``-th step the replicas of neighbouring rungs change places with the
    probability of Metropolis,

        min(1, exp[(1/T_a - 1/T_b) (E_a - E_b)]),

    which leaves the product of all exp(-E_r/T_r) as it is, whatever the sampler between the
    swaps. Rungs 0 and 1, 2 and 3, … swap at odd times, 1 and 2, 3 and 4, … at even ones. It is the
    configurations that move and the temperatures that stay: a replica is a temperature, so every
    record by replica remains one at its temperature, but two-time quantities of a replica are
    those of no single walker. Velocities go with their configurations, rescaled.

    Replica r is chain r mod chains of rung r // chains, as where a sampler is given one
    temperature for each of equal groups; chain c of a rung swaps with chain c of the next. At
    T = 0 there are no swaps. They are a function of (seed of the sampler, step), and a run
    resumes bit for bit. ``rates["exchange"]`` of the sampler has, for every replica, the fraction
    of accepted swaps with the next rung since the start; nan for the last rung.

    Cost: one gradient every ``every`` steps. The energies have to be whole ones: with mini-batches
    the swaps would be biased.

    Args:
        every: steps between swaps.
        chains: replicas at each temperature.

    Raises:
        UsageError: an argument is out of range, or the number of replicas is no multiple of
            ``chains`` with at least two rungs.

    Source: Hukushima and Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996); Sugita and Okamoto, Chem.
    Phys. Lett. 314, 141 (1999), for the velocities.

    >>> from lightning_landscape.dynamics import Langevin
    >>> x = torch.nn.Parameter(torch.zeros(16, 1))
    >>> tempering = ParallelTempering(every=10, chains=8)
    >>> sampler = Langevin([x], lr=0.1, temperature=[0.1, 0.2], exchange=tempering)
    """

    def __init__(self, every: int, chains: int = 1) -> None:
        require(every >= 1, "every", every, "must be at least 1 step")
        require(chains >= 1, "chains", chains, "must be at least 1 replica a temperature")
        self.every, self.chains = every, chains

    def check(self, replicas: int) -> None:
        """Raise a `UsageError` unless the replicas are at least two rungs of the chains."""
        fits = replicas % self.chains == 0 and replicas >= 2 * self.chains
        admissible = f"must divide the {replicas} replicas into at least two temperatures"
        require(fits, "chains", self.chains, admissible)

    def __call__(self, sampler: Thermal, closure: Callable[[], Tensor] | None) -> None:
        """Swap replicas of ``sampler`` if it is time to.

        Args:
            sampler: holds the replicas.
            closure: returns the energies, (R,), and leaves the gradients.
        """
        step = sampler.step_count
        if step == 0 or step % self.every:
            return
        require(closure is not None, "closure", closure, "parallel tempering needs the energies")
        with torch.enable_grad():
            E: Any = closure() if closure else None
        R = len(E)
        lower = torch.arange(R - self.chains)
        lower = lower[(lower // self.chains + step // self.every) % 2 == 1]
        accepted = self._accept(sampler, E.double().cpu(), lower)
        order = torch.arange(R)
        order[lower[accepted]] += self.chains
        order[lower[accepted] + self.chains] -= self.chains
        self._count(sampler, R, lower, accepted)
        sampler.rearrange(order.to(E.device))

    def _accept(self, sampler: Thermal, E: Tensor, lower: Tensor) -> Tensor:
        """Return which of the swaps of ``lower`` with the next rung happen, bool."""
        T = torch.as_tensor(sampler.current_temperature, dtype=torch.float64).expand(len(E))
        beta = 1 / T.clamp_min(torch.finfo(T.dtype).tiny)
        upper = lower + self.chains
        gain = (beta[lower] - beta[upper]) * (E[lower] - E[upper])
        normals = torch.empty(2, len(E))
        Stream(sampler.seed, "exchange").normal_(normals, sampler.step_count)
        exponential = normals.double().square().sum(0)[lower] / 2  # -ln of a uniform number
        return (gain >= -exponential) & (T[lower] > 0) & (T[upper] > 0)

    def _count(self, sampler: Thermal, R: int, lower: Tensor, accepted: Tensor) -> None:
        """Count in the sampler's state, in lists, which a checkpoint keeps as whole numbers."""
        clock = sampler._clock()
        tried = clock.setdefault("tried", [0] * R)
        exchanged = clock.setdefault("exchanged", [0] * R)
        for r, happened in zip(lower.tolist(), accepted.tolist(), strict=True):
            tried[r] += 1
            exchanged[r] += happened

    def rate(self, sampler: Thermal) -> Tensor:
        """Return the fraction of accepted swaps of each replica with the next rung, (R,)."""
        clock, none = sampler._clock(), [0] * len(sampler._parameters()[0])
        tried = torch.tensor(clock.get("tried", none), dtype=torch.float64)
        return torch.tensor(clock.get("exchanged", none), dtype=torch.float64) / tried
