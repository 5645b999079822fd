"""The loss along the straight line and the elastic band between two checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_landscape.callbacks.mean_over_data import on_batch_of
from lightning_landscape.callbacks.probes.surface import surface
from lightning_landscape.cli.surface.systems import System, weights
from lightning_landscape.curvature.operators.evaluation import seed_evaluation
from lightning_landscape.errors import require
from lightning_landscape.exploration.band import elastic_band
from lightning_landscape.observables.surfaces import Cut, barrier
from lightning_landscape.rng import Stream

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["between"]

_TOLERANCE = 0.02  # of the force on an image, in units of the gradient half way along the line


def between(
    first: System, second: System, points: int, images: int, steps: int, replica: int, mode: str
) -> Dataset:
    """Return the record of the paths between two checkpoints of one module.

    Args:
        first: whose data and penalty define the loss.
        second: another checkpoint of the same module.
        points: on the straight line, both ends included.
        images: between the ends of the band; 0 leaves it out.
        steps: of the band at most, each of ``images`` gradients of all data.
        replica: of a run of ours.
        mode: of a foreign module, ``train`` or ``eval``.
    """
    from xarray import Dataset

    start, end = weights(first, replica), weights(second, replica)
    sizes = len(start), len(end)
    require(sizes[0] == sizes[1], "to", f"{sizes[1]} weights", f"must have {sizes[0]}")
    apart = bool((start != end).any())
    require(apart, "to", "the same weights", "must be another checkpoint")
    share = torch.linspace(0, 1, points, dtype=torch.float64)
    view = first.view
    with view.measuring(mode):  # type: ignore[arg-type]
        cut = Cut(start, (end - start)[None])
        loss = surface(view, cut, [share], first.data, replica)
        found = barrier(loss)
        length = share * float((end - start).double().norm())
        tables = {"line_loss": ("point", loss.numpy()), "line_length": ("point", length.numpy())}
        attributes = {"line_barrier": found.height, "line_above_line": found.above_line}
        if images:
            landscape = _Loss(first, replica)
            half = landscape.value_and_gradient((start + end)[None] / 2)[1].norm().item()
            tolerance = max(_TOLERANCE * half, 1e-12)
            reach = float((end - start).norm()) / images
            band = elastic_band(
                landscape, start[None], end[None], images, reach, tolerance, steps, climb=False
            )
            energy, along = band.energy[0].double().cpu(), band.arc_length[0].double().cpu()
            found = barrier(energy, along)
            tables["band_loss"] = ("image", energy.numpy())
            tables["band_length"] = ("image", along.numpy())
            attributes |= {"band_barrier": found.height, "band_above_line": found.above_line}
            attributes["band_converged"] = int(band.converged)
    R, N = view.shape
    known = {"probe": "LossPath", "N": N, "replicas": R, "replica": replica, "config": first.text}
    energy_name = type(view.landscape or view.system).__name__
    return Dataset(tables, attrs={**known, **attributes, "energy": energy_name})


class _Loss:
    """The loss of a system as a landscape of rows of weights, for a band."""

    def __init__(self, system: System, replica: int) -> None:
        self.system, self.replica = system, replica
        self.data = system.data

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses (B,) and their gradients (B, N)."""
        energy = self.system.view.landscape
        if energy is not None:
            rows = torch.full((len(x),), self.replica)
            return energy.only(rows).value_and_gradient(x)
        pairs = [self._of_row(row) for row in x]
        values, gradients = zip(*pairs, strict=True)
        return torch.stack(values), torch.stack(gradients)

    def retract(self, x: Tensor) -> Tensor:
        """Return ``x``; on the sphere of an energy the points of it above ``x``."""
        energy = self.system.view.landscape
        sphere = None if energy is None else energy.constraint
        return x if sphere is None else sphere.retract_(x.clone())

    def tangent(self, v: Tensor, x: Tensor) -> Tensor:
        """Return the parts of ``v`` in which ``x`` can move."""
        energy = self.system.view.landscape
        sphere = None if energy is None else energy.constraint
        return v if sphere is None else sphere.project_(v.clone(), x)

    def _of_row(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss of all data and its gradient, batch by batch."""
        view, data = self.system.view, self.data
        assert data is not None
        moving = {n: p for n, p in view.system.named_parameters() if p.requires_grad}
        parts = row.split([p.numel() for p in moving.values()])
        at = {
            name: part.view(p.shape).clone().requires_grad_()
            for (name, p), part in zip(moving.items(), parts, strict=True)
        }
        value, gradient = row.new_zeros(()), torch.zeros_like(row)
        for number in range(len(data)):
            samples = min(data.size, data.samples - number * data.size)
            seed_evaluation(Stream(0, "evaluation").key(number + 1))
            loss = on_batch_of(view, data, number).energy_at(at)
            g = torch.autograd.grad(loss, list(at.values()), materialize_grads=True)
            weight = samples / data.samples
            value = value + weight * loss.detach()
            gradient += weight * torch.cat([piece.flatten() for piece in g])
        return value, gradient
