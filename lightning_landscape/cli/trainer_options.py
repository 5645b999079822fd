"""The options of the Trainer that make no sense for a run, refused by name."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

from lightning_landscape.errors import require

__all__ = ["check_length", "check_trainer"]

_STRATEGIES = ("auto", "ddp", "replicas", "replicas_fork", "couplings", "couplings_fork", "sharded")
_STRATEGY_CLASSES = (
    "CouplingStrategy",
    "DDPStrategy",
    "ReplicaStrategy",
    "ShardedStrategy",
    "SingleDeviceStrategy",
)
# What would end a run before max_steps, or change its steps, without a word.
_DEFAULTS = {
    "fast_dev_run": (None, False),
    "overfit_batches": (None, 0, 0.0),
    "limit_train_batches": (None, 1.0),
    "accumulate_grad_batches": (None, 1),
    "gradient_clip_val": (None,),
    "max_epochs": (None, -1),
    "min_epochs": (None,),
    "min_steps": (None,),
    "barebones": (None, False),
}
_TIMES = ("first", "last", "interval", "times", "waiting_times")
_MOST_PER_DECADE = 10_000
_MOST_PER_CORE = 4  # processes


def check_trainer(options: dict[str, Any]) -> None:
    """Refuse what a run cannot do.

    Args:
        options: the section ``trainer`` of a configuration.

    Raises:
        UsageError: the option, its value and what to give instead.
    """
    for name, accepted in _DEFAULTS.items():
        value = options.get(name)
        right = any(value is known or value == known for known in accepted)
        remedy = "remove it: a run ends at trainer.max_steps, and each step is one of the optimizer"
        require(right, f"trainer.{name}", value, "has no meaning here", remedy)
    strategy = options.get("strategy")
    if isinstance(strategy, dict):
        strategy = str(strategy.get("class_path")).rsplit(".", 1)[-1]
    remedy = f"use {', '.join(_STRATEGIES)}"
    known = strategy is None or strategy in (*_STRATEGIES, *_STRATEGY_CLASSES)
    require(known, "trainer.strategy", strategy, "is not supported", remedy)
    _check_devices(options)
    logger = options.get("logger")
    require(logger is not True, "trainer.logger", logger, "must be a logger, or false")
    for place, callback in enumerate(_as_list(options.get("callbacks"))):
        if isinstance(callback, dict):
            key = f"trainer.callbacks.{place}.init_args"
            _check_times(callback.get("init_args") or {}, key)


def check_length(options: dict[str, Any]) -> None:
    """Refuse a run without an end.

    Raises:
        UsageError: ``max_steps`` is missing, or not positive.
    """
    steps = options.get("max_steps")
    right = steps is not None and steps > 0
    remedy = "give the number of integrator steps"
    require(right, "trainer.max_steps", steps, "the run would never end", remedy)


def _check_devices(options: dict[str, Any]) -> None:
    """Refuse to start more processes than the cores can serve; Lightning knows how many GPUs."""
    devices, cores = options.get("devices"), os.cpu_count() or 1
    if options.get("accelerator") == "cpu" and isinstance(devices, int):
        right = 0 < devices <= _MOST_PER_CORE * cores
        require(right, "trainer.devices", devices, f"this machine has {cores} cores")


def _check_times(arguments: dict[str, Any], key: str) -> None:
    for name in _TIMES:
        finite = all(math.isfinite(x) for x in _numbers(arguments.get(name)))
        require(finite, f"{key}.{name}", arguments.get(name), "must be finite")
    for x in _numbers(arguments.get("per_decade")):
        right = x <= _MOST_PER_DECADE
        require(right, f"{key}.per_decade", x, f"must be at most {_MOST_PER_DECADE}")


def _numbers(value: Any) -> Iterator[float]:
    for part in _as_list(value):
        if isinstance(part, int | float):
            yield part


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
