"""Langevin dynamics with a noise as strong as that of mini-batches."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.dynamics.samplers.langevin import Langevin
from lightning_landscape.errors import UsageError, require
from lightning_landscape.replicas import per_replica, size, unflatten
from lightning_landscape.sphere import Sphere

__all__ = ["MatchedLangevin"]


class MatchedLangevin(Langevin):
    r"""Langevin dynamics whose parameters each feel the noise that mini-batches would give them.

        x_i <- x_i - lr \partial_i E(x) + sqrt(2 lr T + lr^2 D_i) xi_i,        xi_i ~ N(0, 1)

    with E of all the data and D_i the variance of the mini-batch gradient in parameter i, as it
    was last given to `adopt`; the callback `MatchedNoise` measures it and gives it, at times that
    it states. The dynamics so has the mean and, parameter by parameter, the variance of a step of
    SGD, but neither its correlations between parameters nor its heavy tails. With all D_i equal
    to D it is `Langevin` at the temperature T + lr D / 2.

    In a harmonic well of curvature lam_i along parameter i

        Var x_i = (T + lr D_i / 2) / [lam_i (1 - lr lam_i / 2)],

    exactly, as long as D is constant. Arguments, errors and the rest are those of `Langevin`, but
    T = 0 by default adds nothing to the noise of the mini-batches, there is no constraint, and the
    D_i are state: a run resumes bit for bit.

    Cost: that of `Langevin`, one more pass over the parameters and one number more for each.

    Source: Gaussian noise with the covariance of SGD: Zhu et al. 2019, arXiv:1803.00195.

    >>> x = torch.nn.Parameter(torch.zeros(100_000, 2))  # 100 000 replicas in a round well
    >>> dynamics = MatchedLangevin([x], lr=0.5)
    >>> dynamics.adopt(torch.tensor([0.4, 1.2]).expand(100_000, 2))
    >>> for _ in range(50):
    ...     x.grad = x.detach().clone()
    ...     dynamics.step()
    >>> [round(v, 2) for v in x.var(0).tolist()]  # 0.25 D / (1 - 0.25)
    [0.13, 0.4]
    """

    moves_parts = repeats = False

    @torch.no_grad()
    def adopt(self, variance: Tensor) -> None:
        """Take the variances D, shape (R, N), parameter after parameter, from now on.

        Raises:
            UsageError: the shape is not that of the configurations, or a number is negative.
        """
        parameters = self._parameters()
        shape, needed = tuple(variance.shape), (len(parameters[0]), size(parameters))
        require(shape == needed, "variance.shape", shape, f"must be (R, N) = {needed}")
        smallest = variance.min().item()
        require(smallest >= 0, "variance", smallest, "must be at least 0 everywhere")
        self._clock()  # the state of the first parameter begins with it
        for p, part in zip(parameters, unflatten(variance, parameters), strict=True):
            total = part.flatten(1).double().sum(1)
            self.state[p] |= {"variance": part.to(p), "total": total.to(p)}

    @property
    def current_temperature(self) -> float | Tensor:
        """T + lr D / 2 with the mean D over the parameters of a replica, (R,) once D is given."""
        T, totals, N = super().current_temperature, [], 0
        for group in self.param_groups:
            for p in group["params"]:
                if "total" in self.state[p]:
                    lr = per_replica(group["lr"], self.state[p]["total"])
                    totals.append(lr * self.state[p]["total"])
                N += p[0].numel()
        if not totals:
            return T
        matched = torch.stack(totals).double().sum(0) / (2 * N)
        return matched + per_replica(T, matched)

    @property
    def temperature_is_constant(self) -> bool:
        """False: the strength of the noise follows the mini-batches."""
        return False

    def _move(self, T: float | Tensor) -> None:
        if self.scores:
            raise UsageError(
                "optimizer = MatchedLangevin: its noise differs between parameters, and "
                "LinearResponse divides by one temperature; use FieldResponse"
            )
        moving = list(self._moving())
        for lr, x, gradient in moving:
            for p, g in zip(x, gradient, strict=True):
                p.sub_(per_replica(lr, p) * g)
        noise, T = self._draw(), super().current_temperature
        for lr, x, _ in moving:
            for p in x:
                h, D = per_replica(lr, p), self.state[p].get("variance", 0.0)
                local = per_replica(T, p) + h * D / 2
                p.add_(self.amplitude(h, local) * noise[p].to(p))

    def _move_on(self, sphere: Sphere, T: float | Tensor) -> None:
        raise UsageError(
            f"constraint = |x|^2 = {sphere.N}: MatchedLangevin lives in flat space, where networks "
            "have their mini-batches; use Langevin"
        )
