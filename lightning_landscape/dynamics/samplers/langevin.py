"""Overdamped Langevin dynamics by the method of Euler and Maruyama."""

from __future__ import annotations

from typing import Any

from lightning_landscape.dynamics.samplers.noise import Noise
from lightning_landscape.dynamics.samplers.overdamped import Overdamped

__all__ = ["Langevin"]


class Langevin(Overdamped):
    r"""Overdamped Langevin dynamics, Euler-Maruyama: at T = 0 `torch.optim.SGD` bit for bit.

        x <- x - lr \nabla E(x) + sqrt(2 lr T) xi,        xi ~ N(0, 1)

    is a step of length lr of dx/dt = -\nabla E + sqrt(2 T) eta(t), <eta eta> = delta, whose
    stationary law is exp(-E/T). T has the unit of E, time the unit of lr times steps. The
    stationary law of the scheme is off to first order in lr: in a harmonic well of curvature
    lam, Var x = T / [lam (1 - lr lam / 2)], and it is unstable for lr lam > 2;
    `LeimkuhlerMatthews` costs the same and is off to second order only. With a ``constraint``
    gradient and noise are projected onto the tangent plane of the sphere |x|^2 = N and the result
    is rescaled to it, which supplies the drift -T (N-1)/N x of Brownian motion on the sphere.

    The noise of an element is a function of (seed, step), of its parameter, its replica and its
    place, see `Noise`: replica r of 64 moves bit for bit like replica r of 8, where the energy
    does, and draws the same on every device. A run resumes bit for bit from the state_dict, which
    holds numbers only, and every process of a distributed run draws the same; one that holds some
    replicas of a whole system says which by ``replicas``. Temperature, seed and constraint are not
    in the state: a run may be continued with others.

    Real and imaginary part of a complex parameter are two coordinates, each with noise of variance
    2 lr T a step.

    Cost: one normal and two multiply-adds a parameter; memory, one float32 a parameter.

    Args:
        params: tensors or parameter groups, as for any torch optimizer; a group may have an
            ``lr`` and a ``weight_decay`` of its own. With R replicas the replica axis is the first
            of every tensor.
        lr: the time step, > 0: a number, or one for each of R replicas or of equal groups of them.
        temperature: T >= 0: a number, as many of them as for lr, or a function of physical time t,
            for example a `Schedule`; t counts steps where replicas or groups differ in lr.
        seed: of the noise, any integer.
        constraint: the sphere on which every parameter, of shape (R, N), lives; or None.
        exchange: swaps of configurations between temperatures, see `ParallelTempering`; or None.
        weight_decay: a, >= 0, so that the energy is E + a |x|^2 / 2, as in `torch.optim.SGD`. At
            the temperature T this is a Gaussian prior of precision a / T, around 0: the law is
            exp(-E/T) times normals of variance T / a.

    Raises:
        UsageError: lr <= 0, temperature < 0, a number of values that is not the number of
            replicas, an unknown key in a group, or a shape that does not fit the constraint; at a
            step, parameters in half precision in whose last place the noise is lost.

    Source: Kloeden and Platen, Numerical Solution of Stochastic Differential Equations (1992),
    section 10.2; for the use with mini-batches Welling and Teh, ICML 2011 (see `conventions`).

    >>> import torch
    >>> x = torch.nn.Parameter(torch.zeros(100_000, 1))  # 100 000 replicas in the well x^2 / 2
    >>> dynamics = Langevin([x], lr=0.5, temperature=0.3)
    >>> for _ in range(50):
    ...     x.grad = x.detach().clone()
    ...     dynamics.step()
    >>> round(x.var().item(), 2)  # 0.3 / (1 - 0.25)
    0.4
    """

    noise, moves_parts, repeats = Noise, True, True

    def amplitude(self, lr: Any, temperature: Any) -> Any:
        """Return sqrt(2 lr T)."""
        return (2 * lr * temperature) ** 0.5
