"""Overdamped motion: x follows the force, and the noise is added to x itself."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

from torch import Tensor

from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.replicas import add_, hot
from lightning_landscape.sphere import Sphere

__all__ = ["Overdamped"]


class Overdamped(Thermal):
    """x <- x - lr grad E(x) + amplitude * noise, one gradient a step.

    A scheme is a subclass of a few lines: the ``noise`` it takes and the `amplitude` it gives it.
    On the sphere gradient and noise are projected onto the tangent plane and the result is
    rescaled to |x|^2 = N.
    """

    @abstractmethod
    def amplitude(self, lr: Any, temperature: Any) -> Any:
        """Return what multiplies the noise: the noise of one step has the variance 2 lr T."""

    @cached_property
    def scores(self) -> dict[Tensor, Tensor]:
        """Tensors to which every step adds its noise in units of force, lr / amplitude times xi.

        The keys are the parameters; empty unless a probe asks.
        """
        return {}

    def _move(self, T: float | Tensor) -> None:
        moving = list(self._moving())
        for lr, x, gradient in moving:
            add_(x, self._factor(-lr), gradient)
        if hot(T):
            noise = self._draw()  # late, so that it is still in the cache when it is added
            for lr, x, _ in moving:
                add_(x, self._factor(self.amplitude(lr, T)), [noise[p] for p in x])
                self._score(lr, T, x, noise)

    def _move_on(self, sphere: Sphere, T: float | Tensor) -> None:
        noise = self._draw() if hot(T) else {}
        for lr, x, gradient in self._moving():
            velocity = [g.clone() for g in gradient]
            if noise:
                factor = self._factor(-self.amplitude(lr, T) / lr)
                add_(velocity, factor, [noise[p] for p in x])
                self._score(lr, T, x, noise)
            for p, v in zip(x, velocity, strict=True):
                sphere.project_(v, p)
            add_(x, self._factor(-lr), velocity)
            for p in x:
                sphere.retract_(p)

    @property
    def what_is_read(self) -> list[Any]:
        """What a step depends on beside gradients, step sizes and parameters."""
        return [*super().what_is_read, [*self.scores.values()]]

    def _score(self, lr: Any, T: Any, x: list[Tensor], noise: dict[Tensor, Tensor]) -> None:
        if self.scores:
            scored = [p for p in x if p in self.scores]
            force = [noise[p] for p in scored]
            factor = self._factor(lr / self.amplitude(lr, T))
            add_([self.scores[p] for p in scored], factor, force)
