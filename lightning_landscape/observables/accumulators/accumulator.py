"""The part that all accumulators share: a torchmetrics metric whose states merge as a whole."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_landscape.arguments import Checked
from lightning_landscape.errors import require, require_kind

__all__ = ["Accumulator"]

States = Mapping[str, Tensor]


class Accumulator(Checked, Metric):
    """A statistic of a series that comes in parts, as a torchmetrics metric.

    A subclass derives from this class and from a plain class of tensors, its ``core``, which has
    ``add(values)``, ``merge(other)`` and the statistics. The tensors are the states of the metric.

    * `update` takes in the next values of the series; ``add`` does the same without the
      bookkeeping of torchmetrics, which costs about 15 us per call.
    * `compute` returns the statistic, under distributed training that of all ranks.
    * `reset` empties it, and `merge_state` appends the series of another one.
    * ``metric_state`` is the dictionary of the states. They are changed in place, never replaced
      by ``add``, so that a checkpoint may hold the tensors themselves.

    Variances do not add up from one rank to the next, and neither do blocks or bins: no state has
    a reduction of its own. They are stacked over the ranks and then merged as if each rank held a
    later stretch of one series. Within ``with metric.sync_context():`` every method sees the
    merged series.

    States are float64, and stay float64 when a module that holds the metric changes its precision
    (``.half()``, ``.to(dtype)``); only ``set_dtype`` changes it. ``.to(device)`` moves them.

    Args:
        states: the empty states, by name.
        resumed: states of an earlier accumulator, to continue from; they are changed in place.

    Raises:
        UsageError: ``resumed`` are not the states of such an accumulator.
    """

    core: ClassVar[Callable[..., Any]]
    add: Callable[[Tensor], None]
    merge: Callable[[Any], None]
    full_state_update = True  # the batch alone, which `forward` returns, is another series

    def __init__(self, states: States, resumed: States | None = None) -> None:
        super().__init__(compute_with_cache=False)
        for name, empty in states.items():
            self.add_state(name, empty, dist_reduce_fx=None)
        if resumed:
            self._require_like(resumed)
            for name in states:
                setattr(self, name, resumed[name])

    @property
    def update_called(self) -> bool:
        """Whether there is anything to compute from, by `update`, ``add`` or `merge_state`."""
        return any(not torch.equal(x, self._empty(k)) for k, x in self._states().items())

    @property
    @abstractmethod
    def shape_of_values(self) -> tuple[int | None, ...]:
        """The shape of what `update` takes, with None for the axis that counts values."""

    def update(self, values: Tensor) -> None:
        """Take in the next values of the series, the first axis counting them.

        Raises:
            UsageError: they are no tensor of real numbers, or of another shape.
        """
        require_kind("values", values, Tensor)
        require(not values.is_complex(), "values.dtype", values.dtype, "must be real")
        own, shape = self.shape_of_values, tuple(values.shape)
        any_length = tuple(None if m is None else n for m, n in zip(own, shape, strict=False))
        fits = len(shape) == len(own) and any_length == own
        required = f"must be {str(own).replace('None', 'n')}, for any n"
        require(fits, "values.shape", shape, required)
        self.add(values)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Append the series of another accumulator, which is left as it is.

        Args:
            incoming_state: the accumulator, or its ``metric_state``.

        Raises:
            UsageError: it is not an accumulator of the same class and shape.
        """
        states: Any = incoming_state
        if isinstance(incoming_state, Metric):
            same, name = isinstance(incoming_state, type(self)), type(incoming_state).__name__
            require(same, "incoming_state", name, f"must be a {type(self).__name__}")
            states = incoming_state.metric_state
        self._require_like(states)
        self.merge(type(self).core(**{name: x.clone() for name, x in states.items()}))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Replace the states by those of the series of all ranks, one after the other."""
        was_synced = self._is_synced
        super().sync(*args, **kwargs)
        if self._is_synced and not was_synced:
            stacked = self._states()
            ranks = range(len(next(iter(stacked.values()))))
            first, *others = (
                type(self).core(**{name: x[rank].clone() for name, x in stacked.items()})
                for rank in ranks
            )
            for other in others:
                first.merge(other)
            for name in stacked:
                setattr(self, name, getattr(first, name))

    def _states(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self._defaults}

    def _empty(self, name: str) -> Tensor:
        default = self._defaults[name]
        assert isinstance(default, Tensor)
        return default

    def _require_like(self, states: States) -> None:
        same = states.keys() == self._defaults.keys()
        require(same, "state", sorted(states), f"must have the keys {sorted(self._defaults)}")
        for name, x in states.items():
            own = tuple(self._empty(name).shape)
            require(x.shape == own, f"state[{name!r}].shape", tuple(x.shape), f"must be {own}")

    def _apply(self, fn: Callable[..., Tensor], exclude_state: Sequence[str] = "") -> Any:
        def move(x: Tensor) -> Tensor:
            moved = fn(x)
            return moved if moved.dtype == x.dtype else x.to(moved.device)

        return super()._apply(fn if self._dtype_convert else move, exclude_state)
