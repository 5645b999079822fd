"""What a run will need, said before its first step: memory, files and seconds."""

from __future__ import annotations

import copy
import logging
import math
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from torch import Tensor

from lightning_landscape.callbacks.measuring import measuring
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews, Thermal, Underdamped
from lightning_landscape.errors import require
from lightning_landscape.memory import require_memory
from lightning_landscape.modules.landscape import LandscapeModule

__all__ = ["Estimate"]

_PACKAGES = 150e6  # bytes of what is imported to write records and draw figures
_FIGURE = 1e5  # bytes, and as many for checkpoints and what TensorBoard reads
_LONGEST_STEP = 10  # radii of the sphere
_TRIED_SECONDS = 0.3
# their state is all that they remember
_TAKEN_BACK = (Langevin, LeimkuhlerMatthews, Underdamped, torch.optim.SGD, torch.optim.Adam)

logger = logging.getLogger("lightning_landscape.cli.estimate")


class Estimate(Callback):
    """Say what the run will need, after a few steps that are taken back and change nothing.

    It comes after the probes, which have said by then what they keep. The memory is that of a
    process: what it has, what the gradient took, the noise, and what the probes will keep. The
    time is that of the steps, without what the probes take: of the gradients alone, and so a lower
    bound, where the dynamics remembers more than can be taken back, and an upper one on a GPU,
    where steps may be replayed. Of a network in parts it says nothing.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Say it, or refuse the run.

        Raises:
            UsageError: memory or disk are too small, or the first step would leave the sphere far
                behind.
        """
        steps = trainer.max_steps - trainer.global_step
        if steps <= 0 or trainer.should_stop or pl_module.shards is not None:
            return
        gradient, peak = _one_gradient(pl_module, trainer.global_step)
        _check_step(pl_module, gradient)
        configuration = sum(g.nbytes for g in gradient)
        probes = [c for c in trainer.callbacks if isinstance(c, Probe)]
        kept = sum(probe.memory for probe in probes)
        tables = sum(_bytes_of_tables(probe, pl_module.time_step) for probe in probes)
        # to come: the noise and one copy, the record beside the tables, the packages
        to_come = kept + 2 * tables + 2 * configuration + _PACKAGES
        require_memory(to_come, "replicas", pl_module.energy.replicas, "lower them, or N")
        said = f"{_size(peak + to_come)} of memory"
        if trainer.log_dir:
            figures = _FIGURE * (1 + len(probes))
            files = 2 * (2 * configuration + tables + kept) + tables + figures
            free = shutil.disk_usage(Path(trainer.log_dir).parent).free
            required = f"needs {_size(files)}, and {_size(free)} are free"
            require(files <= free, "trainer.logger", trainer.log_dir, required)
            said += f", {_size(files)} of files"
        if trainer.world_size == 1:
            whole = type(pl_module.dynamics) in _TAKEN_BACK
            seconds = _seconds_of_a_step(pl_module, trainer.global_step, whole)
            on_gpu = pl_module.device.type == "cuda"  # where steps may be replayed from a graph
            about = "at least " if not whole else "at most " if on_gpu else ""
            said += f", {about}{_duration(steps * seconds)} for {steps} steps"
            said += " and what the probes take" if probes else ""
        if trainer.is_global_zero:
            logger.info("the run needs about %s", said)


def _one_gradient(module: LandscapeModule, step: int) -> tuple[list[Tensor], float]:
    """Return the gradient, and the bytes of the process by then."""
    parameters = [p for p in module.energy.parameters() if p.requires_grad]
    batch = module.batch_at(step)
    _forget_peak()
    with measuring(module):
        module.energy.at(step, module.time_step)
        gradient = torch.autograd.grad(module.energy(batch).sum(), parameters)
    return list(gradient), _peak()


def _seconds_of_a_step(module: LandscapeModule, step: int, whole: bool) -> float:
    """Return the typical time of a gradient, of the ``whole`` step with it if that is asked for."""
    dynamics: Any = module.dynamics
    state = copy.deepcopy(dynamics.state_dict())
    moved = [*module.energy.parameters(), *getattr(dynamics, "scores", {}).values()]
    before = [p.detach().clone() for p in moved] if whole else []

    def energies() -> Tensor:
        dynamics.zero_grad()
        values: Tensor = module.energy(module.batch_at(step))
        values.sum().backward()
        return values.detach()

    def one() -> None:
        dynamics.step(energies) if whole else energies()
        for device in devices:
            torch.cuda.synchronize(device)

    devices = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        seconds = _typical_seconds(one)
    dynamics.zero_grad()
    if whole:
        with torch.no_grad():
            for p, x in zip(moved, before, strict=True):
                p.copy_(x)
        dynamics.load_state_dict(state)
    return seconds


def _typical_seconds(function: Callable[[], Any]) -> float:
    """Return the median time of some calls; the first one may have to prepare."""
    times: list[float] = []
    while len(times) < 2 or (sum(times) < _TRIED_SECONDS and max(times) < 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def _check_step(module: LandscapeModule, gradient: list[Tensor]) -> None:
    """Refuse a step size at which the sphere only hides that the dynamics diverges."""
    if module.energy.constraint is None:
        return
    if not isinstance(module.dynamics, Thermal | torch.optim.SGD):
        return
    (g,), (x,) = gradient, module.energy.parameters()
    lr = module.dynamics.param_groups[0]["lr"]
    lr = torch.as_tensor(lr, dtype=torch.float64).max().item()
    along = torch.linalg.vecdot(g, x.detach()) / torch.linalg.vecdot(x.detach(), x.detach())
    tangent = torch.linalg.vector_norm(g - along.unsqueeze(1) * x.detach(), dim=1)
    radii = lr * tangent.max().item() / math.sqrt(module.energy.N)
    required = f"a step would be {radii:.2g} radii of the sphere long"
    require(radii <= _LONGEST_STEP, "model.optimizer.lr", lr, required, "lower it")


def _bytes_of_tables(probe: Probe, time_step: float) -> float:
    """Return how large the tables of a probe are in the end; those along t grow to its times."""
    rows = len(probe.events(time_step)) if "step" in probe.results else 0
    return sum(
        max(table.nbytes, rows * math.prod(table.shape[1:]) * table.element_size())
        if name in probe.dims or name == "step"
        else table.nbytes
        for name, table in probe.results.items()
    )


def _forget_peak() -> None:
    """Let the system count the largest memory of this process from now on, where it can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak() -> float:
    """Return the largest memory of this process in bytes, 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0


def _size(number: float) -> str:
    """Return bytes as text.

    >>> _size(3.21e9), _size(654e6)
    ('3.2 GB', '654 MB')
    """
    return f"{number / 1e9:.2g} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


def _duration(seconds: float) -> str:
    """Return a duration as text.

    >>> _duration(7), _duration(600), _duration(1e5)
    ('7 s', '10 min', '27.8 h')
    """
    if seconds < 99.5:  # which two digits round to 99
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.2g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
