"""Whether a configuration may go on with a run that was started with another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Difference", "describe", "differences"]

# What cannot change a trajectory or a record, beyond the order of sums over devices.
_HARMLESS = (
    "checkpoint",
    "processes",
    "save_dir",
    "trainer.default_root_dir",
    "trainer.devices",
    "trainer.enable_checkpointing",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.max_time",
    "trainer.num_nodes",
    "trainer.profiler",
    "trainer.strategy",
)
# What a checkpoint is a state of: with another value it is the state of something else.
_FIXED = (
    "jamming",
    "model.energy",
    "model.optimizer.class_path",
    "study",
    "trainer.callbacks",
)
_ABSENT = "absent"
_SHOWN = 4


class Difference(NamedTuple):
    """A key that two configurations give different values.

    Attributes:
        key: its path, with dots.
        before: the value of the run.
        now: the value of the command.
    """

    key: str
    before: Any
    now: Any

    @property
    def is_harmless(self) -> bool:
        """Whether the run goes on as if the key had not changed."""
        return _is_below(self.key, _HARMLESS)

    @property
    def is_fatal(self) -> bool:
        """Whether a checkpoint of the run is no state of what is configured now."""
        return _is_below(self.key, _FIXED)

    def __str__(self) -> str:
        return f"{self.key} (was {self.before}, now {self.now})"


def differences(before: Any, now: Any) -> list[Difference]:
    """Return the keys whose values differ, in the order of their names.

    >>> [str(d) for d in differences({"lr": 1, "on": {"x": 2}}, {"lr": 1, "on": {"x": 3}})]
    ['on.x (was 2, now 3)']
    """
    ours, theirs = dict(_leaves(before)), dict(_leaves(now))
    return [
        Difference(key, ours.get(key, _ABSENT), theirs.get(key, _ABSENT))
        for key in sorted({*ours, *theirs})
        if ours.get(key, _ABSENT) != theirs.get(key, _ABSENT)
    ]


def describe(found: list[Difference]) -> str:
    """Return the differences as one phrase, the first few of them."""
    more = f" and {len(found) - _SHOWN} more keys" if len(found) > _SHOWN else ""
    return ", ".join(map(str, found[:_SHOWN])) + more


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is neither a mapping nor a list, with its path."""
    if isinstance(value, dict) and value:
        items = [(str(name), part) for name, part in value.items()]
    elif isinstance(value, list) and value:
        items = [(str(place), part) for place, part in enumerate(value)]
    else:
        yield key, value
        return
    for name, part in items:
        yield from _leaves(part, f"{key}.{name}" if key else name)


def _is_below(key: str, sections: tuple[str, ...]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)
