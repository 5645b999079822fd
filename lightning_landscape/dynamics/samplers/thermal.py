"""What every dynamics at a temperature shares: step sizes, clock, noise, constraint, exchange."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape import parallel
from lightning_landscape.dynamics.dynamics import checked_parameters, require_own_state
from lightning_landscape.dynamics.samplers.ladder import Ladder
from lightning_landscape.dynamics.samplers.noise import require_resolution
from lightning_landscape.dynamics.samplers.noisy import Noisy
from lightning_landscape.dynamics.samplers.step_sizes import schedulable
from lightning_landscape.dynamics.samplers.tempering import ParallelTempering
from lightning_landscape.dynamics.schedules import Schedule
from lightning_landscape.errors import require
from lightning_landscape.replicas import hot, numbers, of_replicas
from lightning_landscape.rng import Stream
from lightning_landscape.sphere import Sphere

__all__ = ["Thermal"]

Temperature = float | Tensor | Callable[[float], float | Tensor]

# how often the noise is compared with the resolution of half precision
_STEPS_BETWEEN_CHECKS = 100


class Thermal(Noisy, Optimizer):
    """Replicas that move at a temperature, with nothing random in their state.

    A scheme is a subclass that moves the parameters by one step: it takes the step sizes and the
    gradients from `_moving` and the noise from `_draw`; the arguments are documented with
    `Langevin`. Anything else that it has to remember belongs in ``state``, which a resume restores.

    ``state_dict`` holds the step sizes and, under the first parameter, the count of steps and the
    clock: numbers only.
    """

    moves_parts: ClassVar[bool] = False  # whether parameters may be cut among ranks (FSDP2)
    _temperature: Temperature

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Sequence[float] | Tensor | Ladder,
        temperature: float | Sequence[float] | Tensor | Ladder | Schedule = 0.0,
        seed: int = 0,
        constraint: Sphere | None = None,
        exchange: ParallelTempering | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        self.temperature = temperature
        self.seed = Stream(seed, "langevin").seed
        self._parts, self._factors = {}, {}
        self._constraint = constraint
        self.exchange = exchange
        defaults = {"lr": numbers("lr", lr), "weight_decay": weight_decay}
        super().__init__(checked_parameters(params), defaults)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` has returned.

        Raises:
            UsageError: it is the state of another optimizer.
        """
        require_own_state(self, state_dict)
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["lr"] = schedulable(group["lr"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with, if wanted, an ``lr`` and a ``weight_decay`` of their own.

        Raises:
            UsageError: an unknown key, an lr <= 0, a weight decay < 0, or a replica axis that does
                not fit.
        """
        unknown = set(param_group) - {"params", "lr", "weight_decay"}
        admissible = "a group has the keys params, lr and weight_decay only"
        require(not unknown, "params", sorted(unknown), admissible)
        if "lr" in param_group:
            param_group["lr"] = numbers("lr", param_group["lr"])
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        decay = group["weight_decay"]
        positive = isinstance(decay, int | float) and 0 <= decay < float("inf")
        require(positive, "weight_decay", decay, "must be a number >= 0")
        for p in group["params"]:
            real = self._constraint is None or not p.is_complex()
            require(real, "constraint", self._constraint, "needs real parameters, not complex ones")
            if parallel.is_cut(p):
                self._check_cut()
                self._parts[p] = parallel.local(p)
            group["lr"] = schedulable(of_replicas("lr", group["lr"], p))
            self._temperature = of_replicas("temperature", self._temperature, p)
            for arrangement in (self.temperature, self.exchange):
                if isinstance(arrangement, Schedule | ParallelTempering):
                    arrangement.check(len(p))
        self.constraint = self._constraint  # checks the shapes
        self._noise = None

    def _check_cut(self) -> None:
        """Refuse parameters of which this rank has a part only, where the scheme needs all."""
        alone = self.moves_parts and self._constraint is None and self.exchange is None
        required = "needs whole parameters, and these are cut among devices"
        require(alone, "optimizer", type(self).__name__, required, "take Langevin in flat space")

    @property
    def temperature(self) -> Temperature:
        """T: a float, one for each replica, (R,), or a function of physical time."""
        return self._temperature

    @temperature.setter
    def temperature(self, temperature: Any) -> None:
        given = temperature if callable(temperature) else numbers("temperature", temperature)
        for p in self._parameters() if "param_groups" in self.__dict__ else []:
            given = of_replicas("temperature", given, p)
        self._temperature = given

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

    def take(self, whole: Thermal, replicas: Sequence[int]) -> None:
        """Move like these replicas of ``whole``, a dynamics of the same kind for all of them.

        Temperatures, exchange and noise become theirs; the copies of a replica, and the rungs of a
        ladder that exchange, have to be together.
        """
        self._temperature = _of_some(whole.temperature, list(replicas))
        self._replicas = list(replicas)
        self._twins, self.seed = whole.twins, whole.seed
        if whole.exchange is not None and self.exchange is None:
            rungs = whole._count_of_replicas // whole.exchange.chains
            every, chains = whole.exchange.every, len(replicas) // rungs
            self.exchange = ParallelTempering(every, chains)

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
        T = self.temperature
        return T.constant if isinstance(T, Schedule) else not callable(T)

    @property
    def needs_whole_energy(self) -> bool:
        """Whether the energies decide what happens, so that those of mini-batches are wrong."""
        return self.exchange is not None

    @property
    def rates(self) -> dict[str, Tensor]:
        """What fraction of the decisions of each kind was positive so far, each (R,)."""
        if self.exchange is None:
            return {}
        tried, accepted = self._swaps()
        return {"exchange": torch.tensor(accepted).double() / torch.tensor(tried)}

    def _clock(self) -> dict[str, Any]:
        """The clock ticks since step ``since``, when it showed ``time``, by ``time_step`` a step.

        A product instead of a running sum: no rounding errors collect in t.
        """
        clock = self.state[self.param_groups[0]["params"][0]]
        if not clock:
            clock.update(step=0, since=0, time=0.0, time_step=self.time_step)
        return clock

    def settle(self) -> None:
        """Bring into the state what has been counted on the device since."""

    def state_dict(self) -> dict[str, Any]:
        """Return the step sizes and, under the first parameter, the counts and the clock."""
        self.settle()
        return super().state_dict()

    def tick(self) -> None:
        """Count a step."""
        clock, time_step = self._clock(), self.time_step
        if time_step != clock["time_step"]:
            clock.update(time=self.time, since=clock["step"], time_step=time_step)
        clock["step"] += 1

    # motion

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step; return what ``closure`` returns, if given.

        Parameters without a gradient stay where they are. A gradient that is not finite makes its
        replica nan, as in any torch optimizer: to look at it here would wait for the device at
        every step. `LandscapeModule` and `minimize` look, and end with a `UsageError`.
        """
        loss = None
        for p in self._parts:
            self._parts[p] = parallel.local(p)
        self._exchange(closure)
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        T = self.current_temperature
        self._require_resolution(T)
        if self.constraint is None:
            self._move(T)
        else:
            self._move_on(self.constraint, T)
        self.tick()
        return loss

    def _require_resolution(self, T: float | Tensor) -> None:
        """Raise a `UsageError` if parameters in half precision would round the noise away."""
        if self.step_count % _STEPS_BETWEEN_CHECKS == 0 and hot(T):
            require_resolution(self.param_groups, T)

    def _exchange(self, closure: Callable[[], Any] | None) -> None:
        """Swap configurations between temperatures, if it is time to."""
        exchange, step = self.exchange, self.step_count
        if exchange is None or not exchange.is_due(step):
            return
        require(closure is not None, "closure", closure, "parallel tempering needs the energies")
        assert closure is not None
        with torch.enable_grad():
            E: Tensor = closure()
        E = E + self._prior().to(E)
        T = torch.as_tensor(self.current_temperature, dtype=torch.float64).expand(len(E))
        lower, happens = exchange.swaps(E.double().cpu(), T, self.seed, step, self.replicas)
        tried, accepted = self._swaps()
        for r, happened in zip(lower.tolist(), happens.tolist(), strict=True):
            tried[r] += 1
            accepted[r] += happened
        self._clock().update(tried=tried, exchanged=accepted)
        self.rearrange(exchange.order(lower[happens], len(E)).to(E.device))

    def _swaps(self) -> tuple[list[int], list[int]]:
        """Return how many swaps each replica has tried with the next rung, and how many happened.

        They are lists, which a checkpoint keeps as whole numbers.
        """
        clock, R = self._clock(), self._count_of_replicas
        return clock.get("tried", [0] * R), clock.get("exchanged", [0] * R)

    def rearrange(self, order: Tensor) -> None:
        """Put the configuration of replica ``order[r]`` in the place of r; the gradients stay."""
        for p in self._parameters():
            p.copy_(p[order])

    @abstractmethod
    def _move(self, T: float | Tensor) -> None:
        """Move the parameters that have a gradient, at the temperature T."""

    @abstractmethod
    def _move_on(self, sphere: Sphere, T: float | Tensor) -> None:
        """The same on the sphere."""

    def _moving(self) -> Iterator[tuple[Any, list[Tensor], list[Tensor]]]:
        """Yield lr, parameters and gradients of each group, those that this rank holds."""
        for group in self.param_groups:
            lr, params = group["lr"], [p for p in group["params"] if p.grad is not None]
            if params and (isinstance(lr, Tensor) or lr > 0):  # a schedule may end at 0
                gradients = self._gradients(params, group.get("weight_decay", 0.0))
                here = [self._parts.get(p, p) for p in params]
                yield lr, here, [*map(parallel.local, gradients)] if self._parts else gradients

    def _gradients(self, params: list[Tensor], decay: float) -> list[Tensor]:
        """Return the gradients of E + decay |x|^2 / 2."""
        gradient = [p.grad for p in params if p.grad is not None]
        return (
            [g.add(p, alpha=decay) for g, p in zip(gradient, params, strict=True)]
            if decay
            else gradient
        )

    def _prior(self) -> Tensor:
        """Return what weight decay adds to the energies, (R,), float64."""
        device = self._parameters()[0].device
        total = torch.zeros(self._count_of_replicas, dtype=torch.float64, device=device)
        for group in self.param_groups:
            if group.get("weight_decay", 0.0):
                for p in group["params"]:
                    square = p.detach().abs().double().square()
                    total += group["weight_decay"] / 2 * square.reshape(len(total), -1).sum(1)
        return total

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        own = ("_temperature", "seed", "exchange", "_constraint", "_twins", "_replicas")
        kept = {name: getattr(self, name) for name in own}
        return {**super().__getstate__(), "_parts": {}, "_factors": {}, **kept}


def _of_some(temperature: Temperature, replicas: list[int]) -> Temperature:
    """Return the temperature of some of the replicas."""
    if not callable(temperature):
        return temperature[replicas] if isinstance(temperature, Tensor) else temperature
    of_all = temperature

    def of_some(t: float) -> float | Tensor:
        T = of_all(t)
        return T[replicas] if isinstance(T, Tensor) else T

    return of_some
