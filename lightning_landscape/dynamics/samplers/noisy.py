"""Who gets which noise: twins, parts of a system, recorded steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor

from lightning_landscape import parallel
from lightning_landscape.dynamics.dynamics import Dynamics
from lightning_landscape.dynamics.samplers.noise import Noise, check_replicas
from lightning_landscape.dynamics.samplers.tempering import ParallelTempering
from lightning_landscape.errors import require

__all__ = ["Noisy"]

_FACTORS_HELD = 64


class Noisy(Dynamics):
    """Replicas whose noise is a function of the step and of their place in the whole system.

    A scheme draws it by `_draw`. A step that a GPU has recorded finds the key of its noise on the
    device, see `replayable`.
    """

    noise: ClassVar[type[Noise]]
    # whether, at one temperature, all steps after the first do the same with other noise
    repeats: ClassVar[bool] = False
    seed: int
    exchange: ParallelTempering | None
    _noise: Noise | None = None
    _twins: int = 1
    _replicas: Sequence[int] | None = None
    _parts: dict[Tensor, Tensor]  # what this rank holds of parameters that are cut
    _factors: dict[bytes, Tensor]  # numbers of the replicas, on the device
    _key: Tensor | None = None

    @property
    @abstractmethod
    def step_count(self) -> int:
        """How many steps have been done."""

    @property
    @abstractmethod
    def temperature(self) -> Any:
        """T: a float, one for each replica, (R,), or a function of physical time."""

    @abstractmethod
    def _clock(self) -> dict[str, Any]:
        """Return the count of steps and the time, which a step moves on."""

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
        remedy = "the twins of a pair would part at different times; remove one of the two"
        no_exchange = twins == 1 or self.exchange is None
        require(no_exchange, "exchange", self.exchange, "swaps replicas, not twins", remedy)
        self._twins, self._noise = twins, None

    @property
    def replicas(self) -> Sequence[int]:
        """Which replicas of the whole system are held here: their indices, as the noise has them.

        0, 1, … unless a part of a system is held, whose replicas then move as in the whole. With
        twins the first block counts; the others share its noise.
        """
        return range(self._count_of_replicas) if self._replicas is None else self._replicas

    @replicas.setter
    def replicas(self, replicas: Sequence[int]) -> None:
        check_replicas(replicas, self._parameters())
        self._replicas, self._noise = replicas, None

    @property
    def _count_of_replicas(self) -> int:
        """The length of the first axis; a number is one replica."""
        first = self._parameters()[0]
        return len(first) if first.dim() else 1

    # steps that are recorded and replayed (CUDA graphs)

    @property
    def can_be_replayed(self) -> bool:
        """Whether a step, recorded by the device, is the next one if it only finds another key."""
        temperature = self.temperature
        constant = not callable(temperature)
        return self.repeats and constant and self.exchange is None and not self._parts

    def ready(self, count: int) -> Tensor:
        """Return the keys of the noise of the next ``count`` steps, on the device, int64."""
        noise, step = self._noise_of_parameters(), self.step_count
        return noise.ready(range(step, step + count))

    @contextmanager
    def replayable(self, key: Tensor) -> Iterator[None]:
        """Let a step in the body read the key of its noise from ``key``, (1,), and not be counted.

        Whoever does the step, now or again, counts it by `tick`.
        """
        clock = dict(self._clock())
        self._key = key
        try:
            yield
        finally:
            self._key = None
            self._clock().update(clock)

    @property
    def what_is_read(self) -> list[Any]:
        """What a step depends on beside gradients, step sizes and parameters."""
        place = None if self._noise is None else self._noise.place
        return [self.temperature, self._twins, self._replicas, self.seed, place]

    def _draw(self) -> dict[Tensor, Tensor]:
        """Return the normals of this step, by parameter as the scheme moves it."""
        drawn = self._noise_of_parameters()(self.step_count if self._key is None else self._key)
        moved, n = [self._parts.get(p, p) for p in self._parameters()], self._twins
        if n > 1:
            shared = [noise.repeat(n, *[1] * (noise.dim() - 1)) for noise in drawn.values()]
            return dict(zip(moved, shared, strict=True))
        return dict(zip(moved, drawn.values(), strict=True)) if self._parts else drawn

    def _noise_of_parameters(self) -> Noise:
        whole = self._parameters()
        parameters = [self._parts.get(p, p) for p in whole]
        if self._noise is None or self._noise.device != parameters[0].device:
            n, own = self._twins, self._replicas
            distinct = [p[: len(p) // n] if n > 1 else p for p in parameters]
            first = [parallel.begins(p) for p in whole]
            self._noise = self.noise(distinct, self.seed, own and own[: len(own) // n], first)
        return self._noise

    def _factor(self, value: Any) -> Any:
        """Return numbers of the replicas, (R,), where the parameters are: copied when they change.

        A copy at every step would wait for a GPU.
        """
        device = self._parameters()[0].device
        if not isinstance(value, Tensor) or value.device == device:
            return value
        content = value.detach().numpy().tobytes()
        if content not in self._factors:
            if len(self._factors) >= _FACTORS_HELD:
                self._factors.clear()
            self._factors[content] = value.to(device)
        return self._factors[content]

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]
