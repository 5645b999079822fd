"""Metropolis-adjusted Langevin dynamics: the unbiased reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.dynamics.samplers.noise import Noise, exponentials
from lightning_landscape.dynamics.samplers.overdamped import Overdamped
from lightning_landscape.errors import require
from lightning_landscape.sphere import Sphere

__all__ = ["MetropolisLangevin"]


class MetropolisLangevin(Overdamped):
    r"""Langevin dynamics whose steps are accepted or rejected: exp(-E/T) without an error in lr.

    A step of `Langevin`, x' = x - lr g + sqrt(2 lr T) xi with g = \nabla E(x), is accepted, for
    each replica by itself, with probability min(1, exp(-W/T)),

        W = E' - E - (x' - x).(g + g')/2 + lr (|g'|^2 - |g|^2)/4,

    what the energy gains beyond the work of the mean force, and a term that vanishes with lr.
    So the stationary law is exp(-E/T) for every lr; a larger one is rejected more often, and
    about 57 % accepted is the best in many dimensions. Rejections slow the motion: its time is
    that of `Langevin` only where nearly all is accepted. At T = 0 it is
    gradient descent without the steps that would raise E: there is no law to keep, and W would
    forbid to leave a saddle.

    Arguments and errors are those of `Langevin`, but for a constraint: there is none. Noise and
    acceptance are functions of (seed, step). ``rates["acceptance"]`` is the fraction of accepted
    steps of each replica since the start. ``step`` needs a closure that returns the energies,
    (R,), and leaves the gradients, and returns the energies (with those of weight decay) from where
    the step began. They have
    to be whole ones: with mini-batches the law would be another one.

    Cost: one gradient a step, because what is known of x is kept until something else moves it;
    memory, four times the parameters. The energies are compared to float32's precision or better:
    T should be far above 1e-7 of |E|.

    Raises:
        UsageError: as for `Langevin`, a constraint, or no energies.

    Source: Roberts and Tweedie, Bernoulli 2, 341 (1996); Roberts and Rosenthal, J. R. Stat. Soc. B
    60, 255 (1998), for the best acceptance.

    >>> x = torch.nn.Parameter(torch.zeros(100_000, 1))  # 100 000 replicas in the well x^2 / 2
    >>> dynamics = MetropolisLangevin([x], lr=0.5, temperature=0.3)
    >>> def energies():
    ...     x.grad = x.detach().clone()
    ...     return x.detach().square().sum(1) / 2
    >>> for _ in range(50):
    ...     _ = dynamics.step(energies)
    >>> round(x.var().item(), 2)
    0.3
    """

    noise = Noise
    _accepted: Tensor | None = None
    _held: tuple[list[int], Tensor, dict[Tensor, Tensor]] | None = None

    def amplitude(self, lr: Any, temperature: Any) -> Any:
        """Return sqrt(2 lr T)."""
        return (2 * lr * temperature) ** 0.5

    @property
    def needs_whole_energy(self) -> bool:
        """Always."""
        return True

    @property
    def constraint(self) -> Sphere | None:
        """None."""
        return None

    @constraint.setter
    def constraint(self, constraint: Sphere | None) -> None:
        remedy = "take Langevin, LeimkuhlerMatthews or Underdamped"
        admissible = "MetropolisLangevin does not know the density of its steps on the sphere"
        require(constraint is None, "constraint", constraint, admissible, remedy)

    @property
    def rates(self) -> dict[str, Tensor]:
        """The fraction of accepted steps, nan before the first, and of exchanges if any, (R,)."""
        self.settle()
        none = [0] * self._count_of_replicas
        accepted = torch.tensor(self._clock().get("accepted", none), dtype=torch.float64)
        return {"acceptance": accepted / self.step_count, **super().rates}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; return the energies before it, (R,).

        Args:
            closure: returns the energies, (R,), and leaves the gradients in ``.grad``.
        """
        require(closure is not None, "closure", closure, "Metropolis needs the energies")
        assert closure is not None
        self._exchange(closure)
        T = self.current_temperature
        self._require_resolution(T)
        E, gradient = self._here(closure)
        before = {p: p.clone() for p in gradient}
        self._move(T)
        proposed, later = self._evaluate(closure)
        W = (proposed - E).double() + self._lost(before, gradient, later)
        T = self._factor(T)
        descends, lasts = proposed <= E, self._bath(T, W) >= W
        if isinstance(T, Tensor):
            accepted = torch.where(T == 0, descends, lasts)
        else:
            accepted = descends if T == 0 else lasts
        for p, x in before.items():
            rejected = ~accepted.view(-1, *[1] * (p.dim() - 1)) if p.dim() else ~accepted[0]
            p.copy_(torch.where(rejected, x, p))
            later[p] = torch.where(rejected, gradient[p], later[p])
            p.grad = later[p].clone()
        self._held = self._versions(), torch.where(accepted, proposed, E), later
        self._count(accepted)
        self.tick()
        return E

    def _here(self, closure: Callable[[], Tensor]) -> tuple[Tensor, dict[Tensor, Tensor]]:
        """Return energies and gradients of the configuration, from the last step if it lasted."""
        if self._held is not None and self._held[0] == self._versions():
            _, E, gradient = self._held
        else:
            E, gradient = self._evaluate(closure)
        for p, g in gradient.items():
            p.grad = g
        return E, gradient

    def _evaluate(self, closure: Callable[[], Tensor]) -> tuple[Tensor, dict[Tensor, Tensor]]:
        with torch.enable_grad():
            E = closure().detach().reshape(-1)
        R = self._count_of_replicas
        require(len(E) == R, "closure", f"{len(E)} values", f"must return {R} energies")
        gradient = {p: g for group in self.param_groups for p, g in self._with_prior(group)}
        return E + self._prior().to(E), gradient

    def _with_prior(self, group: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
        params = [p for p in group["params"] if p.grad is not None]
        gradients = super()._gradients(params, group.get("weight_decay", 0.0))
        return [(p, g.clone()) for p, g in zip(params, gradients, strict=True)]

    def _gradients(self, params: list[Tensor], decay: float) -> list[Tensor]:
        """Return what `_evaluate` has left, where the prior is in the gradients already."""
        return super()._gradients(params, 0.0)

    def _versions(self) -> list[int]:
        """How often each parameter has been written to: whoever moves it, it shows here."""
        return [p._version for p in self._parameters()]

    def _lost(
        self, x: dict[Tensor, Tensor], g: dict[Tensor, Tensor], later: dict[Tensor, Tensor]
    ) -> Tensor:
        """Return W but for the difference of the energies, (R,), float64."""
        W: Any = 0.0
        for group in self.param_groups:
            lr = self._factor(group["lr"])
            for p in [p for p in group["params"] if p in g]:
                work = _dot(p - x[p], g[p] + later[p])
                W = W - work / 2 + lr / 4 * _dot(later[p] - g[p], later[p] + g[p])
        return W

    def _bath(self, T: float | Tensor, W: Tensor) -> Tensor:
        """Return what each replica may lose in this step, (R,): T times an exponential number."""
        distinct = self.replicas[: len(W) // self.twins]
        drawn = exponentials(self.seed, "acceptance", self.step_count, distinct, W.device)
        return T * drawn.repeat(self.twins)

    def _count(self, accepted: Tensor) -> None:
        """Count on the device: to look at every step would wait for it."""
        now = accepted.long()
        self._accepted = now if self._accepted is None else self._accepted + now

    def settle(self) -> None:
        """Count in a list, which a checkpoint keeps as whole numbers."""
        if self._accepted is not None:
            clock, added = self._clock(), self._accepted.tolist()
            before = clock.get("accepted", [0] * len(added))
            clock["accepted"] = [n + a for n, a in zip(before, added, strict=True)]
            self._accepted = None


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Return the scalar product of each replica, (R,), summed in float64."""
    if x.is_complex():
        x, y = torch.view_as_real(x), torch.view_as_real(y)
    products = x * y
    rows = products.flatten(1) if products.dim() > 1 else products.view(-1, 1)
    return rows.sum(1, dtype=torch.float64)
