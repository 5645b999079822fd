"""How Lightning runs one system on several devices."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry

__all__ = ["ReplicaStrategy"]


class ReplicaStrategy(DDPStrategy):
    """Every device moves its own replicas; no gradient is sent: ``trainer.strategy: replicas``.

    For a `LandscapeModule`. Records and checkpoints are those of all replicas, and the run is that
    of one process, see `Share`; it may go on with another number of devices.

    Args:
        start_method: ``popen`` starts the command again for each device, ``fork`` copies the
            process, which is quicker on a CPU (``trainer.strategy: replicas_fork``).
        kwargs: those of `DDPStrategy`.
    """

    strategy_name = "replicas"

    def configure_ddp(self) -> None:
        """Leave the module as it is: there are no gradients to average."""

    @classmethod
    def register_strategies(cls, strategy_registry: Any) -> None:
        """Make the strategy known by its name."""
        for name, start_method in (("replicas", "popen"), ("replicas_fork", "fork")):
            description = f"replicas shared out among devices, started by {start_method}"
            strategy_registry.register(
                name, cls, description=description, start_method=start_method
            )


if "replicas" not in StrategyRegistry.available_strategies():
    ReplicaStrategy.register_strategies(StrategyRegistry)
