"""What every overdamped dynamics shares: step sizes, temperature, clock, noise and constraint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.dynamics.ladder import Ladder
from lightning_landscape.dynamics.noise import Noise
from lightning_landscape.dynamics.schedules import Schedule
from lightning_landscape.dynamics.tempering import ParallelTempering
from lightning_landscape.errors import UsageError, require
from lightning_landscape.sphere import Sphere

__all__ = ["Overdamped"]


class Overdamped(Optimizer):
    """x <- x - lr grad E(x) + amplitude * noise, one gradient a step, nothing random in its state.

    A scheme is a subclass of a few lines: the noise it takes and the amplitude it gives it; the
    arguments are documented with `Langevin`. On the sphere gradient and noise are projected onto
    the tangent plane and the result is rescaled to |x|^2 = N.

    ``state_dict`` holds the step sizes and, under the first parameter, the count of steps and the
    clock: numbers only.

    Attributes:
        scores: tensors to which, for the parameters that are its keys, every step adds its noise
            in units of force, lr / amplitude times xi; empty unless a probe asks.
    """

    noise: ClassVar[type[Noise]]

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Sequence[float] | Tensor | Ladder,
        temperature: float | Sequence[float] | Tensor | Ladder | Schedule = 0.0,
        seed: int = 0,
        constraint: Sphere | None = None,
        exchange: ParallelTempering | None = None,
    ) -> None:
        self.temperature: float | Tensor | Callable[[float], float | Tensor] = (
            temperature if callable(temperature) else _numbers("temperature", temperature)
        )
        self.seed = seed
        self.scores: dict[Tensor, Tensor] = {}
        self._noise: Noise | None = None
        self._twins = 1
        self._constraint = constraint
        self.exchange = exchange
        super().__init__(params, {"lr": _numbers("lr", lr)})

    @abstractmethod
    def amplitude(self, lr: Any, temperature: Any) -> Any:
        """Return what multiplies the noise: the noise of one step has the variance 2 lr T."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with, if wanted, an ``lr`` of their own.

        Raises:
            UsageError: an unknown key, an lr <= 0, or a replica axis that does not fit.
        """
        unknown = set(param_group) - {"params", "lr"}
        require(not unknown, "params", sorted(unknown), "a group has the keys params and lr only")
        if "lr" in param_group:
            param_group["lr"] = _numbers("lr", param_group["lr"])
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            group["lr"] = _of_replicas("lr", group["lr"], p)
            self.temperature = _of_replicas("temperature", self.temperature, p)
            for arrangement in (self.temperature, self.exchange):
                if isinstance(arrangement, Schedule | ParallelTempering):
                    arrangement.check(len(p))
        self.constraint = self._constraint  # checks the shapes
        self._noise = None

    @property
    def constraint(self) -> Sphere | None:
        """The sphere on which every parameter, of shape (R, N), is kept; or None."""
        return self._constraint

    @constraint.setter
    def constraint(self, constraint: Sphere | None) -> None:
        if constraint is not None:
            for p in self._parameters():
                constraint.check(p)
        self._constraint = constraint

    @property
    def twins(self) -> int:
        """How many successive blocks of replicas get the same noise; 1 unless they are twins."""
        return self._twins

    @twins.setter
    def twins(self, twins: int) -> None:
        for p in self._parameters():
            R = len(p) if p.dim() else 0
            required = f"must divide the {R} replicas"
            require(R > 0 and R % twins == 0, "twins", twins, required)
        self._twins, self._noise = twins, None

    # time

    @property
    def step_count(self) -> int:
        """How many steps have been done."""
        return self._clock()["step"]

    @property
    def time(self) -> float:
        """Physical time t: the sum of the step sizes so far.

        Where replicas or parameter groups differ in their step size, t counts steps.
        """
        clock = self._clock()
        return clock["time"] + (clock["step"] - clock["since"]) * clock["time_step"]

    @property
    def current_temperature(self) -> float | Tensor:
        """The temperature at the present time, a float or a float64 tensor (R,)."""
        if not callable(self.temperature):
            return self.temperature
        t = self.time
        T = self.temperature(t)
        good = bool((T >= 0).all()) if isinstance(T, Tensor) else T >= 0
        require(good, f"temperature({t})", T, "must be at least 0", "correct the schedule")
        return T

    @property
    def temperature_is_constant(self) -> bool:
        """Whether the temperature is known never to change."""
        return not callable(self.temperature) or getattr(self.temperature, "constant", False)

    @property
    def needs_whole_energy(self) -> bool:
        """Whether the energies decide what happens, so that those of mini-batches are wrong."""
        return self.exchange is not None

    @property
    def rates(self) -> dict[str, Tensor]:
        """What fraction of the decisions of each kind was positive so far, each (R,)."""
        return {} if self.exchange is None else {"exchange": self.exchange.rate(self)}

    def _clock(self) -> dict[str, Any]:
        """The clock ticks since step ``since``, when it showed ``time``, by ``time_step`` a step.

        A product instead of a running sum: no rounding errors collect in t.
        """
        clock = self.state[self.param_groups[0]["params"][0]]
        if not clock:
            clock.update(step=0, since=0, time=0.0, time_step=self._time_step())
        return clock

    def _time_step(self) -> float:
        lrs = [group["lr"] for group in self.param_groups]
        same = not isinstance(lrs[0], Tensor) and all(lr is lrs[0] or lr == lrs[0] for lr in lrs)
        return lrs[0] if same else 1.0

    def _tick(self) -> None:
        clock, time_step = self._clock(), self._time_step()
        if time_step != clock["time_step"]:
            clock.update(time=self.time, since=clock["step"], time_step=time_step)
        clock["step"] += 1

    # motion

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; return what ``closure`` returns, if given.

        Parameters without a gradient stay where they are.
        """
        loss = None
        if self.exchange is not None:
            self.exchange(self, closure)
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self.constraint is None:
            self._move(self.current_temperature)
        else:
            self._move_on(self.constraint, self.current_temperature)
        self._tick()
        return loss

    def rearrange(self, order: Tensor) -> None:
        """Put the configuration of replica ``order[r]`` in the place of r; the gradients stay."""
        for p in self._parameters():
            p.copy_(p[order])

    def _move(self, T: float | Tensor) -> None:
        moving = list(self._moving())
        for lr, x, gradient in moving:
            _add_(x, -lr, gradient)
        if _hot(T):
            noise = self._draw()  # late, so that it is still in the cache when it is added
            for lr, x, _ in moving:
                _add_(x, self.amplitude(lr, T), [noise[p] for p in x])
                self._score(lr, T, x, noise)

    def _move_on(self, sphere: Sphere, T: float | Tensor) -> None:
        noise = self._draw() if _hot(T) else {}
        for lr, x, gradient in self._moving():
            velocity = [g.clone() for g in gradient]
            if noise:
                _add_(velocity, -self.amplitude(lr, T) / lr, [noise[p] for p in x])
                self._score(lr, T, x, noise)
            for p, v in zip(x, velocity, strict=True):
                sphere.project_(v, p)
            _add_(x, -lr, velocity)
            for p in x:
                sphere.retract_(p)

    def _score(self, lr: Any, T: Any, x: list[Tensor], noise: dict[Tensor, Tensor]) -> None:
        scored = [p for p in x if p in self.scores]
        if scored:
            force = [noise[p] for p in scored]
            _add_([self.scores[p] for p in scored], lr / self.amplitude(lr, T), force)

    def _moving(self) -> Iterator[tuple[Any, list[Tensor], list[Tensor]]]:
        """Yield lr, parameters and gradients of each group; a schedule of lr may end at 0."""
        for group in self.param_groups:
            lr, params = group["lr"], group["params"]
            gradient = [p.grad for p in params if p.grad is not None]
            if gradient and (isinstance(lr, Tensor) or lr > 0):
                yield lr, [p for p in params if p.grad is not None], gradient

    def _draw(self) -> dict[Tensor, Tensor]:
        parameters = self._parameters()
        if self._noise is None or self._noise.device != parameters[0].device:
            distinct = [p[: len(p) // self._twins] if self._twins > 1 else p for p in parameters]
            self._noise = self.noise(distinct, self.seed)
        drawn = self._noise(self.step_count)
        if self._twins == 1:
            return drawn
        shared = (noise.repeat(self._twins, *[1] * (noise.dim() - 1)) for noise in drawn.values())
        return dict(zip(parameters, shared, strict=True))

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __getstate__(self) -> dict[str, Any]:
        own = ("temperature", "seed", "exchange", "_constraint", "_twins")  # noise is drawn anew
        kept = {k: self.__dict__[k] for k in own}
        return {**super().__getstate__(), "_noise": None, "scores": {}, **kept}


def _hot(T: float | Tensor) -> bool:
    return bool(T.any()) if isinstance(T, Tensor) else T > 0


def _add_(x: list[Tensor], factor: float | Tensor, y: list[Tensor]) -> None:
    """Add factor y to x in place, with one factor for all or one per replica, (R,)."""
    if isinstance(factor, Tensor):
        for a, b in zip(x, y, strict=True):
            a.addcmul_(factor.to(a).view(-1, *[1] * (a.dim() - 1)), b.to(a))
    else:
        torch._foreach_add_(x, y, alpha=factor)


def _numbers(argument: str, value: Any) -> float | Tensor:
    """Return a float, or a float64 tensor (R,); lr must be > 0, temperature >= 0."""
    bound = "> 0" if argument == "lr" else ">= 0"
    admissible = f"must be a number {bound}, or one for each replica"
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"{argument} = {value!r}: {admissible}") from None
    good = (numbers > 0) if argument == "lr" else (numbers >= 0)
    fits = numbers.dim() <= 1 and numbers.numel() > 0
    require(fits and bool((good & numbers.isfinite()).all()), argument, value, admissible)
    return numbers if numbers.dim() else numbers.item()


def _of_replicas(argument: str, value: Any, parameter: Tensor) -> Any:
    """Return one value for each replica where there are several, one for each of equal groups."""
    if not isinstance(value, Tensor):
        return value
    R = parameter.shape[0] if parameter.dim() else 0
    require(
        R > 0 and R % len(value) == 0,
        argument,
        value.tolist(),
        f"has {len(value)} values but a parameter of shape {tuple(parameter.shape)} has "
        f"{R} replicas in front",
        f"give one number, one {argument} for each replica, or one for each of equal groups",
    )
    return value.repeat_interleave(R // len(value))
