"""Checkpoints of a module that ranks have cut: a folder, to which each of them writes its part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape import parallel

__all__ = ["INDEX", "REST", "read_folder", "write_folder"]

INDEX, REST = ".metadata", "meta.pt"
"""The files of a folder that say where tensors are, and all that is no tensor."""


def write_folder(checkpoint: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint of Lightning; every rank calls it with what it holds.

    Tensors of module and optimizers are written by the ranks that hold them; the rest, numbers and
    the states of callbacks, by rank zero.
    """
    module = checkpoint["state_dict"]
    tensors = {f"module/{name}": value for name, value in module.items()}
    optimizers = []
    for k, saved in enumerate(checkpoint.get("optimizer_states", [])):
        of_parameters = {}
        for i, state in saved["state"].items():
            held = {key: value for key, value in state.items() if isinstance(value, Tensor)}
            tensors |= {_name(k, i, key): value for key, value in held.items()}
            forms = {key: (tuple(v.shape), v.dtype, parallel.is_cut(v)) for key, v in held.items()}
            numbers = {key: value for key, value in state.items() if key not in held}
            of_parameters[i] = {"numbers": numbers, "tensors": forms}
        optimizers.append({**saved, "state": of_parameters})
    parallel.save(tensors, folder)
    if parallel.rank() == 0:
        rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
        torch.save({**rest, "optimizer_states": optimizers}, folder / REST)


def read_folder(folder: Path, module: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Any]:
    """Load a folder into module and optimizers, however many ranks have written it.

    Returns:
        what else is in the checkpoint.
    """
    rest: dict[str, Any] = torch.load(folder / REST, map_location="cpu", weights_only=False)
    tensors = {f"module/{name}": value for name, value in module.state_dict().items()}
    states = []
    for k, (optimizer, saved) in enumerate(
        zip(optimizers, rest.pop("optimizer_states"), strict=False)
    ):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        of_parameters: dict[int, dict[str, Any]] = {}
        for i, state in saved["state"].items():
            made = {key: _empty(parameters[i], *form) for key, form in state["tensors"].items()}
            tensors |= {_name(k, i, key): value for key, value in made.items()}
            of_parameters[i] = {**state["numbers"], **made}
        states.append({**saved, "state": of_parameters})
    parallel.load(tensors, folder)
    for optimizer, loaded in zip(optimizers, states, strict=True):
        optimizer.load_state_dict(loaded)
    return rest


def _name(optimizer: int, parameter: int, key: str) -> str:
    return f"optimizer {optimizer}/{parameter}/{key}"


def _empty(parameter: Tensor, shape: tuple[int, ...], dtype: torch.dtype, is_cut: bool) -> Tensor:
    """Return a tensor to load into, cut like the parameter if it was cut."""
    if is_cut:
        return torch.zeros_like(parameter.detach(), dtype=dtype)
    return torch.zeros(shape, dtype=dtype)
