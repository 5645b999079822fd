"""Parallel tempering: configurations swap places between the temperatures of a ladder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.arguments import Checked
from lightning_landscape.dynamics.samplers.noise import exponentials
from lightning_landscape.errors import require

__all__ = ["ParallelTempering"]


class ParallelTempering(Checked):
    r"""Swaps between neighbouring temperatures: the ``exchange`` of any sampler.

    Before every ``every``-th step the replicas of neighbouring rungs swap places with the
    Metropolis probability,

        min(1, exp[(1/T_a - 1/T_b) (E_a - E_b)]),

    which leaves the product of all exp(-E_r/T_r) invariant, whatever the sampler between the
    swaps. Rungs 0 and 1, 2 and 3, … swap at odd times, 1 and 2, 3 and 4, … at even ones.
    Configurations move and temperatures stay: a replica is a temperature, so every record by
    replica remains one at its temperature, but two-time quantities of a replica do not follow a
    single walker. Velocities move with their configurations, rescaled.

    Replica r is chain r mod chains of rung r // chains, as where a sampler is given one
    temperature for each of equal groups; chain c of a rung swaps with chain c of the next. There
    are no swaps with T = 0. They are a function of (seed of the sampler, step), so a run resumes
    bit for bit. ``rates["exchange"]`` of the sampler is the fraction of accepted swaps of every
    replica with the next rung since the start; nan for the last rung.

    Cost: one gradient every ``every`` steps. The energies have to be those of all the data:
    mini-batches would bias the swaps.

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

    def is_due(self, step: int) -> bool:
        """Return whether configurations are swapped before this step."""
        return step > 0 and step % self.every == 0

    def swaps(
        self, E: Tensor, T: Tensor, seed: int, step: int, replicas: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return the replicas that may swap with the next rung before a step, and which of them do.

        Args:
            E: the energies, shape (R,), float64.
            T: the temperatures, shape (R,), float64.
            seed: of the sampler.
            step: a multiple of ``every``.
            replicas: the indices of the replicas in the whole system.

        Returns:
            the indices of the lower replicas of the pairs, and whether each swap happens, bool.
        """
        lower = torch.arange(len(E) - self.chains)
        lower = lower[(lower // self.chains + step // self.every) % 2 == 1]
        upper = lower + self.chains
        beta = 1 / T.clamp_min(torch.finfo(T.dtype).tiny)
        gain = (beta[lower] - beta[upper]) * (E[lower] - E[upper])
        cost = exponentials(seed, "exchange", step, replicas)[lower]
        return lower, (gain >= -cost) & (T[lower] > 0) & (T[upper] > 0)

    def order(self, lower: Tensor, replicas: int) -> Tensor:
        """Return which replica's configuration each replica gets when those of ``lower`` swap."""
        order = torch.arange(replicas)
        order[lower] += self.chains
        order[lower + self.chains] -= self.chains
        return order
