"""The mean energy of all data of a foreign project, its gradient and its Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape import parallel
from lightning_landscape.callbacks.all_data import AllData, DataBatch
from lightning_landscape.callbacks.isolation import isolated, keep
from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.composed import MeanOverRanks
from lightning_landscape.curvature.operators.evaluation import seed_evaluation
from lightning_landscape.curvature.operators.streaming import StreamingOperator
from lightning_landscape.rng import Stream

__all__ = ["energy_of_batch", "energy_of_data", "hessian_of_data", "on_batch_of"]


def hessian_of_data(view: View, data: AllData, seed: int = 0) -> CurvatureOperator:
    """Return the Hessian of the mean energy of all samples; call it inside `measuring`.

    H = sum_b n_b H_b / n over the batches b of n_b samples, of all ranks, where the energy of each
    batch is what that of ``view`` is for the current one. A product evaluates each batch once.

    Args:
        view: the run, a foreign project.
        data: the data.
        seed: of dropout masks, one for each batch.
    """

    def operator_of(item: DataBatch) -> CurvatureOperator:
        return _on(view, item).hessian_of_batch()

    streamed = StreamingOperator(operator_of, data, lambda item: item.samples, seed)
    return streamed if parallel.count() == 1 else MeanOverRanks(streamed, data.samples)


def on_batch_of(view: View, data: AllData, number: int) -> View:
    """Return the run at this moment, on one batch of the data."""
    return _on(view, data[number])


def energy_of_batch(view: View, data: AllData, number: int, seed: int = 0) -> Tensor:
    """Return the energy of one batch of the data, (1,); call it inside `measuring`."""
    item = data[number]
    seed_evaluation(Stream(seed, "evaluation").key(number + 1))
    return _on(view, item).energy()


def energy_of_data(view: View, data: AllData, seed: int = 0) -> Callable[[], Tensor]:
    """Return a function that returns the mean energy of all samples, (1,), inside `measuring`.

    The energy is sum_b n_b E_b / n over the batches b of all ranks. It can be differentiated once
    by the parameters of the view; one graph lives at a time. Over ranks, every rank must call it.

    Cost: one evaluation of all data; where gradients are on, one gradient.
    """
    parameters = view.parameters()

    def total(with_gradient: bool) -> Tensor:
        """Return the energy and its gradient in one vector, summed over the ranks."""
        sums = torch.zeros(1, dtype=torch.float64, device=parameters[0].device)
        for number in range(len(data)):
            energy = energy_of_batch(view, data, number, seed).sum()
            parts = [energy.detach().reshape(1)]
            if with_gradient:
                found = torch.autograd.grad(energy, parameters, materialize_grads=True)
                parts += [g.to_dense().flatten() for g in found]
            n = min(data.size, data.samples - number * data.size)
            sums = sums + n * torch.cat([part.double() for part in parts])
        return parallel.sum(sums) / data.total

    def energy() -> Tensor:
        return _Once.apply(total, torch.is_grad_enabled(), *parameters)

    return energy


class _Once(torch.autograd.Function):
    """An energy whose gradient is computed beside it."""

    @staticmethod
    def forward(ctx: Any, total: Any, with_gradient: bool, *parameters: Tensor) -> Tensor:
        with torch.set_grad_enabled(with_gradient):
            energy, gradient = total(with_gradient).split_with_sizes(
                [1, sum(p.numel() for p in parameters) if with_gradient else 0]
            )
        if with_gradient:
            parts = gradient.split([p.numel() for p in parameters])
            ctx.gradients = [g.view_as(p).to(p) for g, p in zip(parts, parameters, strict=True)]
        return energy

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Any, ...]:
        return None, None, *((above * g).to(g) for g in ctx.gradients)


def _on(view: View, item: DataBatch) -> View:
    return view.on_batch(_on_device(view.system, item.batch), item.number)


def _on_device(module: nn.Module, batch: Any) -> Any:
    """Return a batch as the trainer hands it to a step: converted, moved, through the hooks.

    What the hooks change in the module is restored.
    """
    trainer: Any = vars(module).get("_trainer")
    if trainer is None:
        return batch
    with isolated(module, None):
        batch = trainer.precision_plugin.convert_input(keep(batch))
        batch = trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return trainer.strategy.batch_to_device(batch, dataloader_idx=0)
