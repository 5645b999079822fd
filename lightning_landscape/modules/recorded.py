"""Steps on a GPU as one CUDA graph: recorded once, and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.energies.energy import Energy

__all__ = ["RecordedSteps", "can_be_recorded"]

# steps that are done before one is recorded: what is made where it is used first is then there
_STEPS_BEFORE = 3


def can_be_recorded(energy: Energy, dynamics: Optimizer) -> bool:
    """Return whether all steps do the same on the device, with other noise and samples.

    So it is on a GPU for `Langevin`, `LeimkuhlerMatthews` and `Underdamped` at a constant
    temperature and for `torch.optim.SGD`, if the energy does not depend on time and nothing looks
    into a step.
    """
    parameters = list(energy.parameters())
    single_or_double = {p.dtype for p in parameters} <= {torch.float32, torch.float64}
    if not all(p.is_cuda for p in parameters) or not single_or_double:
        return False
    if torch.is_autocast_enabled("cuda"):
        return False
    if isinstance(dynamics, Thermal):
        if not dynamics.can_be_replayed:
            return False
    elif type(dynamics) is not torch.optim.SGD:
        return False
    looked_at = dynamics._optimizer_step_pre_hooks or dynamics._optimizer_step_post_hooks
    if looked_at and isinstance(dynamics, Thermal):  # `constrain` gives SGD two hooks
        return False
    return not any(_depends_on_time(m) or _has_hooks(m) for m in energy.modules())


def _depends_on_time(module: Any) -> bool:
    return isinstance(module, Energy) and type(module).at is not Energy.at


def _has_hooks(module: torch.nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    own = list(module.parameters(recurse=False))
    of_gradients = [h for p in own for h in (p._backward_hooks, p._post_accumulate_grad_hooks)]
    return any(hooks) or any(of_gradients)


class RecordedSteps:
    """A step as a CUDA graph, and what differs from step to step on the device beforehand.

    A step of a small system consists of tens of kernels that take less time than it takes to start
    them; a graph starts all of them at once. The numbers are those of steps that are not recorded,
    since the kernels are the same. Whatever a step reads has to stay at its place in memory, and
    numbers as they are: after a change the next steps are recorded anew.

    Args:
        step: does one step with the samples that it is given, or None; returns the energies, (R,).
        energy: what it evaluates.
        dynamics: what it moves by; see `can_be_recorded`.
        most: the largest number of steps in one call.
    """

    def __init__(
        self,
        step: Callable[[Tensor | None], Tensor],
        energy: Energy,
        dynamics: Optimizer,
        most: int,
    ) -> None:
        self._step, self._energy, self._dynamics, self._most = step, energy, dynamics, most
        self._graph: torch.cuda.CUDAGraph | None = None
        self._before, self._failed = 0, False
        device = next(energy.parameters()).device
        self._counter = torch.zeros(1, dtype=torch.int64, device=device)
        self._keys = torch.zeros(most, dtype=torch.int64, device=device)
        self._key = torch.zeros(1, dtype=torch.int64, device=device)
        self._batches: Tensor | None = None
        self._energies: Tensor | None = None
        self._read: list[Any] = []

    def __reduce__(self) -> Any:
        return type(None), ()  # a copy of a module records for itself

    def is_of(self, energy: Energy, dynamics: Optimizer) -> bool:
        """Return whether these are the steps of this energy and this dynamics."""
        return self._energy is energy and self._dynamics is dynamics

    def __call__(
        self, steps: range, batches: Tensor | None, is_asked_to_end: Callable[[], bool]
    ) -> Tensor:
        """Do some steps; return the energies before each, (steps, R).

        Args:
            steps: their numbers.
            batches: the samples of each, (steps, …), or None.
            is_asked_to_end: after every step, whether it is to be the last.
        """
        self._prepare(steps, batches)
        done, ends = 0, False
        while done < len(steps) and not ends:
            self._do()
            done, ends = done + 1, is_asked_to_end()
        assert self._energies is not None
        return self._energies[:done].clone()

    def _prepare(self, steps: range, batches: Tensor | None) -> None:
        """Put on the device what the steps need, and see whether the graph is still theirs."""
        if isinstance(self._dynamics, Thermal):
            self._keys[: len(steps)] = self._dynamics.ready(len(steps))
        if batches is not None:
            held = self._batches
            if held is None or held.shape[1:] != batches.shape[1:]:
                self._batches = batches.new_zeros(self._most, *batches.shape[1:])
                self._graph = None
            assert self._batches is not None
            self._batches[: len(steps)] = batches
        self._counter.zero_()
        if self._graph is not None and self._read != self._what_is_read():
            self._graph = None

    def _what_is_read(self) -> list[Any]:
        """Return places in memory and numbers that differ after any change of what a step reads."""
        states = [v for state in self._dynamics.state.values() for v in state.values()]
        remembered = [v for v in states if isinstance(v, Tensor)]
        tensors = [*self._energy.parameters(), *self._energy.buffers(), *remembered]
        groups = [
            [_as_number(value) for name, value in group.items() if name != "params"]
            for group in self._dynamics.param_groups
        ]
        own = self._dynamics.what_is_read if isinstance(self._dynamics, Thermal) else ()
        return [[t.data_ptr() for t in tensors], groups, [_as_number(value) for value in own]]

    def _do(self) -> None:
        if self._graph is None and self._before >= _STEPS_BEFORE and not self._failed:
            self._record()
        if self._graph is None:
            with self._replayable():
                self._all_of_it()
            self._before += 1
        else:
            self._graph.replay()
        if isinstance(self._dynamics, Thermal):
            self._dynamics.tick()

    def _record(self) -> None:
        try:
            graph = torch.cuda.CUDAGraph()
            # other threads, such as those of a process group, may do what they like meanwhile
            with (
                self._replayable(),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                self._all_of_it()
        except RuntimeError as error:
            self._failed = True
            reason = str(error).splitlines()[0]
            rank_zero_warn(f"a step cannot be recorded as a CUDA graph, and is started: {reason}")
            return
        self._graph, self._read = graph, self._what_is_read()

    def _replayable(self) -> Any:
        if isinstance(self._dynamics, Thermal):
            return self._dynamics.replayable(self._key)
        return nullcontext()

    def _all_of_it(self) -> None:
        """Do the step that the counter shows, and count it; nothing comes from the host."""
        torch.index_select(self._keys, 0, self._counter, out=self._key)
        batches = self._batches
        batch = None if batches is None else batches.index_select(0, self._counter)[0]
        E = self._step(batch)
        if self._energies is None:
            self._energies = E.new_zeros(self._most, *E.shape)
        self._energies.index_copy_(0, self._counter, E.unsqueeze(0))
        self._counter += 1


def _as_number(value: Any) -> Any:
    """Return something to compare a setting by; a tensor on a device by its place."""
    if isinstance(value, Tensor):
        return value.data_ptr() if value.is_cuda else value.tolist()
    return [_as_number(v) for v in value] if isinstance(value, Iterable) else value
