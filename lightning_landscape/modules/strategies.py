"""How Lightning runs one system on several devices."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, StrategyRegistry

from lightning_landscape.errors import require
from lightning_landscape.modules.folders import read_folder, write_folder

__all__ = ["BEFORE", "CouplingStrategy", "ReplicaStrategy", "ShardedStrategy"]

BEFORE = ".before"
"""What is added to the name of a checkpoint that the next one is about to replace."""


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
    of one process, see `Share`; it may go on with another number of devices. Where the replicas are
    fewer than the devices, these share out the data of a network, and average gradients.

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


class ShardedStrategy(ModelParallelStrategy):
    """Every device holds a part of the parameters, by FSDP2: ``trainer.strategy: sharded``.

    For a network that does not fit on one device. A `LandscapeModule` is cut by itself, see
    `Shards`; any other LightningModule says in ``configure_model`` how it is cut, as for
    `ModelParallelStrategy`. A checkpoint is a folder, complete or not there; a run may go on with
    another number of devices.

    Args:
        data_parallel_size: devices among which the parameters are cut; ``auto`` takes all that
            ``tensor_parallel_size`` leaves.
        tensor_parallel_size: devices that share each product, for a ``configure_model`` that cuts
            those; ``auto`` is 1.
        kwargs: those of `ModelParallelStrategy`.
    """

    name: ClassVar[str] = "sharded"

    def __init__(
        self,
        data_parallel_size: Literal["auto"] | int = "auto",
        tensor_parallel_size: Literal["auto"] | int = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_parallel_size, tensor_parallel_size, **kwargs)

    def setup_environment(self) -> None:
        """Arrange the devices: all of them along the axis of FSDP2 unless told otherwise."""
        if self._tensor_parallel_size == "auto":
            self._tensor_parallel_size = 1
        if self._data_parallel_size == "auto":
            devices = self.num_nodes * self.num_processes
            self._data_parallel_size = devices // self._tensor_parallel_size
        super().setup_environment()

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return the state of an optimizer; each rank has its part of what is cut."""
        return cast(dict[str, Any], optimizer.state_dict())

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint to a temporary folder and rename it when all ranks are done.

        The folder that was there is kept until then; for a moment of the renaming it has the name
        ``<path>.before``.
        """
        path = Path(self.broadcast(filepath))
        temporary, before = path.with_name(path.name + ".part"), path.with_name(path.name + BEFORE)
        if self.is_global_zero:
            shutil.rmtree(temporary, ignore_errors=True)
        self.barrier()
        write_folder(checkpoint, temporary)
        self.barrier()
        if self.is_global_zero:
            shutil.rmtree(before, ignore_errors=True)
            if path.exists():
                path.rename(before)
            temporary.rename(path)
            shutil.rmtree(before, ignore_errors=True)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:
        """Read a folder into the module and its optimizers; return all else that is in it.

        Raises:
            UsageError: it is no folder.
        """
        path = Path(self.broadcast(checkpoint_path))
        required = "is not the folder of a network that was cut among devices"
        remedy = "start the run anew, or give the strategy that it was made with"
        require(path.is_dir(), "ckpt_path", path, required, remedy)
        assert self.lightning_module is not None
        return read_folder(path, self.lightning_module, self.optimizers)

    @classmethod
    def register_strategies(cls, strategy_registry: Any) -> None:
        """Make the strategy known by its name."""
        description = "parameters cut among devices by FSDP2"
        strategy_registry.register(cls.name, cls, description=description)


@runtime_checkable
class _HasCouplings(Protocol):
    def divide_couplings(self) -> None: ...


for strategy in (ReplicaStrategy, CouplingStrategy, ShardedStrategy):
    if strategy.name not in StrategyRegistry.available_strategies():
        strategy.register_strategies(StrategyRegistry)
