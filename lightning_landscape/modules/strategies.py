"""How Lightning runs one system on several devices."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

from pytorch_lightning.strategies import DDPStrategy, StrategyRegistry

from lightning_landscape.errors import require

__all__ = ["CouplingStrategy", "ReplicaStrategy"]


class _NoGradientsStrategy(DDPStrategy):
    """Processes that average no gradients."""

    name: ClassVar[str]
    what: ClassVar[str]

    def configure_ddp(self) -> None:
        """Leave the module as it is."""

    @classmethod
    def register_strategies(cls, strategy_registry: Any) -> None:
        """Make the strategy known by its name."""
        for suffix, start_method in (("", "popen"), ("_fork", "fork")):
            description = f"{cls.what} shared out among devices, started by {start_method}"
            strategy_registry.register(
                cls.name + suffix, cls, description=description, start_method=start_method
            )


class ReplicaStrategy(_NoGradientsStrategy):
    """Every device moves its own replicas, with no traffic: ``trainer.strategy: replicas``.

    For a `LandscapeModule`. Records and checkpoints are those of all replicas, and the run is that
    of one process, see `Share`; it may go on with another number of devices.

    Args:
        start_method: ``popen`` starts the command again for each device, ``fork`` copies the
            process, which is quicker on a CPU (``trainer.strategy: replicas_fork``).
        kwargs: those of `DDPStrategy`.
    """

    name, what = "replicas", "replicas"


class CouplingStrategy(_NoGradientsStrategy):
    """Every device holds a part of the couplings of a glass: ``trainer.strategy: couplings``.

    For a dense `SphericalPSpin` that is too large or too slow for one device. All devices hold all
    configurations, draw the same noise and sum each force over their parts, so that probes,
    records and checkpoints are those of one process.

    Args:
        start_method: as for `ReplicaStrategy`; ``trainer.strategy: couplings_fork``.
        kwargs: those of `DDPStrategy`.
    """

    name, what = "couplings", "couplings"

    def configure_ddp(self) -> None:
        """Share out the couplings.

        Raises:
            UsageError: the energy has none that can be shared out.
        """
        module = self.lightning_module
        assert module is not None
        glasses = [m for m in module.modules() if isinstance(m, _HasCouplings)]
        energy = type(getattr(module, "energy", module)).__name__
        remedy = "use trainer.strategy replicas"
        dense = len(glasses) > 0
        require(dense, "trainer.strategy", "couplings", f"{energy} has no dense couplings", remedy)
        for glass in glasses:
            glass.divide_couplings()


@runtime_checkable
class _HasCouplings(Protocol):
    def divide_couplings(self) -> None: ...


for strategy in (ReplicaStrategy, CouplingStrategy):
    if strategy.name not in StrategyRegistry.available_strategies():
        strategy.register_strategies(StrategyRegistry)
