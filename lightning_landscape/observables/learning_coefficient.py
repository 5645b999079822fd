"""The local learning coefficient: how many dimensions a minimum has at small temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.arguments import checked
from lightning_landscape.dynamics.dynamics import dynamics_of
from lightning_landscape.errors import require

__all__ = ["LearningCoefficient", "learning_coefficient"]

_PORTION = 64  # steps whose energies are accumulated together


@dataclass(frozen=True)
class LearningCoefficient:
    """The estimate for each replica, (R,) float64.

    Attributes:
        value: (<E> - E(x*)) / T.
        error: its standard error from blocks of each chain, see `Blocking`; nan of fewer than six
            steps, and a lower bound where the chain has few autocorrelation times.
        mean_energy: <E>.
        energy: E(x*).
    """

    value: Tensor
    error: Tensor
    mean_energy: Tensor
    energy: Tensor


@checked
def learning_coefficient(
    energy: Callable[[], Tensor],
    sampler: Optimizer,
    steps: int,
    burn_in: int,
    localisation: float = 1.0,
) -> LearningCoefficient:
    r"""Estimate the local learning coefficient at the present configuration x* of each replica.

        lambda = (<E> - E(x*)) / T,    x ~ exp[-E(x)/T - localisation |x - x*|^2 / 2]

    sampled by one chain per replica that starts at x*. With E the mean loss over P data and
    T = 1 / (P beta) it is P beta (<L> - L*), whose limit at T -> 0 is the real log canonical
    threshold: d/2 for d stiff directions, half of what `dimension` counts from the mean energy,
    and less at singular minima: 1/4 for x^4. At finite T it is smaller for directions that the
    localisation holds, 1/2 . lam / (lam + localisation T) each, and logarithms of T correct it
    where the threshold is multiple, as in x^2 y^2. If x* is no minimum it may be negative.

    Many chains for one x* are many replicas at it. Afterwards parameters and gradients are as
    before, bit for bit.

    Args:
        energy: returns the energies, (R,), of the parameters; over all data, or the limit T -> 0
            means nothing.
        sampler: a dynamics of the parameters at one constant temperature > 0, for example
            `LeimkuhlerMatthews`; its step size biases the result as it does any mean energy.
            Not one that accepts or exchanges.
        steps: of the chain, after ``burn_in``.
        burn_in: steps before the energies count.
        localisation: how strongly a chain is held at x*, > 0 in units of 1 / x^2: the inverse
            variance where E is flat. Devinterp's gamma.

    Raises:
        UsageError: an argument is out of range, or the sampler has no temperature.

    Cost: burn_in + steps gradients and steps of the sampler; memory, three times the parameters.

    Source: Lau, Furman, Wang, Murfet, Wei, arXiv:2308.12108, eqs. 13-14.

    >>> from lightning_landscape.energies import Quadratic
    >>> from lightning_landscape.dynamics import LeimkuhlerMatthews
    >>> well = Quadratic([1.0, 2.0, 5.0], replicas=1000, start=0.0)
    >>> sampler = LeimkuhlerMatthews(well.parameters(), lr=0.1, temperature=0.001)
    >>> estimate = learning_coefficient(well, sampler, steps=400, burn_in=100)
    >>> round(estimate.value.mean().item(), 1)
    1.5
    """
    from lightning_landscape.observables.accumulators.autocorrelation import Blocking

    dynamics = dynamics_of(sampler)
    T = dynamics.current_temperature
    require(isinstance(T, float) and T > 0, "temperature", T, "must be one number > 0")
    assert isinstance(T, float)
    admissible = "accepts and rejects by the energy, which here lacks the spring"
    remedy, decides = "take LeimkuhlerMatthews", dynamics.needs_whole_energy
    require(not decides, "sampler", type(sampler).__name__, admissible, remedy)
    require(steps >= 1, "steps", steps, "must be at least 1")
    require(burn_in >= 0, "burn_in", burn_in, "must be at least 0")
    require(localisation >= 0, "localisation", localisation, "must be at least 0")
    parameters = [p for group in sampler.param_groups for p in group["params"]]
    with _restored(parameters) as start:
        pull = _Localised(energy, parameters, start, localisation * T)
        with torch.no_grad():
            first = energy().reshape(-1).double()
        move: Any = sampler.step
        for _ in range(burn_in):
            move(pull)
        series, total = Blocking(tuple(first.shape)), torch.zeros_like(first)
        for done in range(0, steps, _PORTION):
            portion = []
            for _ in range(min(_PORTION, steps - done)):
                move(pull)
                portion.append(pull.last)
            values = torch.stack(portion).double() - first
            series.add(values.cpu())
            total += values.sum(0)
    mean = (total / steps).cpu()
    first = first.cpu()
    return LearningCoefficient(mean / T, series.error() / T, first + mean, first)


class _Localised:
    """The closure of the sampler: gradients of energy and spring; ``last`` is the energy alone."""

    def __init__(
        self,
        energy: Callable[[], Tensor],
        parameters: list[Tensor],
        start: list[Tensor],
        stiffness: float,
    ) -> None:
        self.energy, self.parameters = energy, parameters
        self.start, self.stiffness = start, stiffness
        self.last = torch.empty(0)

    @torch.enable_grad()
    def __call__(self) -> Tensor:
        energies = self.energy().reshape(-1)
        gradients = torch.autograd.grad(energies.sum(), self.parameters, materialize_grads=True)
        away = torch._foreach_sub([p.detach() for p in self.parameters], self.start)
        dense = [g.to_dense() for g in gradients]  # an embedding may have it sparse
        force = torch._foreach_add(dense, away, alpha=self.stiffness)
        for p, g in zip(self.parameters, force, strict=True):
            p.grad = g
        self.last = energies.detach()
        return self.last


@contextmanager
def _restored(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Yield copies of the parameters; put them and the gradients back afterwards."""
    start = [p.detach().clone() for p in parameters]
    gradients = [p.grad for p in parameters]
    try:
        yield start
    finally:
        with torch.no_grad():
            for p, x, g in zip(parameters, start, gradients, strict=True):
                p.copy_(x)
                p.grad = g
