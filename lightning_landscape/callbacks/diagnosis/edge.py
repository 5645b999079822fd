"""EdgeOfStability: how far the curvature is from where the optimizer's steps overshoot."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.all_data import Data, Mode, all_data, require_mode
from lightning_landscape.callbacks.mean_over_data import hessian_of_data
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times, affordable, thinned
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.composed import RescaledOperator, ShiftedOperator
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.dynamics.stability import Edge, edge_of
from lightning_landscape.errors import require, require_whole
from lightning_landscape.replicas import flatten
from lightning_landscape.rng import Stream

__all__ = ["EdgeOfStability"]

_TRUST = 4.0  # lengths of the last direction and of the gradient, beside a random one of length 1


class EdgeOfStability(Probe):
    r"""Measure the sharpness of the loss against the bound that the optimizer sets to it.

    At time 0 and on a log grid, for each replica:

    - ``sharpness``, the highest eigenvalue lambda of the Hessian;
    - ``edge``, the highest eigenvalue of the Hessian in units of the step sizes, over its bound:
      lr lambda / 2 for gradient descent, and for momentum, Adam and RMSprop what `edge_of` says.
      Below 1 a quadratic valley of this curvature is stable, above it the steps grow;
    - ``batch_sharpness``, g . H_B g / |g|^2 with the gradient g and the Hessian H_B of the current
      mini-batch, and ``batch_edge``, lr/2 times that: for SGD it is its mean over batches that
      settles at 1, while lambda stays below 2 / lr.

    Full-batch gradient descent sharpens until ``edge`` is near 1 and stays there, with a squared
    loss; with cross-entropy the sharpness rises, and falls again when the data are fitted.

    The energy is the whole one of an `Energy`, or in a foreign project that of the current batch,
    whose sharpness is above that of all data; with ``data`` it is that of all data. On a sphere
    there is no batch sharpness. With several optimizers, or one whose bound is not known, ``edge``
    is nan. Adam has no bound before its first step.

    A measurement costs a gradient, up to ``max_products`` products of 1.5 gradients for each of the
    two eigenvalues, which are one where all parameters have one step size, and one product for the
    batch sharpness. In a foreign project each search begins near the last eigenvector and the
    gradient, which halves the products, and the first measurement is verified, at 4 gradients. If
    all of them would exceed ``max_share`` of the run, some times are left out.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        max_products: for each eigenvalue, at least 2; its relative residual is 1e-2 at most
            where they suffice.
        max_share: cost of all measurements over that of the run; inf for no limit.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        data: of a foreign project: a DataLoader, or ``"train"`` or ``"val"``; see `AllData`.
        mode: of a foreign module, ``train`` or ``eval``.
        name, strict: see `Probe`.

    Raises:
        UsageError: an argument is out of range, or the Hessian cannot be certified.

    Source: Cohen et al. 2021, arXiv:2103.00065; Cohen et al. 2022, arXiv:2207.14484; batch
    sharpness: Andreyev and Beneventano 2024, arXiv:2412.20553.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("sharpness", "edge", "batch_sharpness", "batch_edge"), ("t", "replica")
    )
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "sharpness": {"long_name": "highest eigenvalue of the Hessian"},
        "edge": {"long_name": "highest eigenvalue in units of its bound"},
        "batch_sharpness": {"long_name": "curvature of a mini-batch along its gradient"},
        "batch_edge": {"long_name": "batch sharpness in units of 2 / lr"},
    }
    reference = "Cohen et al. 2021, arXiv:2103.00065"
    tolerance: ClassVar[float] = 1e-2  # of the relative residual

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 3,
        max_products: int = 40,
        max_share: float = 0.05,
        loss_fn: EnergyFn | None = None,
        data: Data | None = None,
        mode: Mode = "train",
        **options: Any,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade), loss_fn, **options)
        require_whole("max_products", max_products, least=2)
        require(max_share > 0, "max_share", max_share, "must be greater than 0")
        require_mode(mode)
        self.max_products, self.max_share = max_products, max_share
        self.data, self.mode = data, mode
        self._optimizers: list[Any] = []
        self._batch_of_step: Any = None
        self._verified = False

    def begin(self, trainer: Any, pl_module: Any) -> None:
        """Remember the optimizers."""
        self._optimizers = list(trainer.optimizers)
        self._batch_of_step = getattr(pl_module, "batch_at", None)
        super().begin(trainer, pl_module)

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return ``steps``, thinned to at most ``max_share`` of the run's cost."""
        reached = [step for step in steps if step <= end]
        if not reached:
            return steps
        run = min(float(end), steps[-1])
        most = affordable(self, len(reached), self.max_share, run, self.cost_of_look(view))
        return thinned(reached, most) if 0 < most < len(reached) else reached if most else []

    def cost_of_look(self, view: View) -> float:
        """Return what one measurement costs at most, in steps."""
        edge = self._edge()
        eigenvalues = 1 if edge is not None and edge.is_plain else 2
        products = view.product_cost * eigenvalues * self.max_products
        return (products + 2.5) * view.steps_per_gradient

    def prepare(self, view: View) -> str:
        """Start empty tables."""
        self.start(view, *self.dims)
        bound = self._edge()
        rule = "of an optimizer without a known bound" if bound is None else f"against {bound.rule}"
        return f"at most {len(self._steps)} measurements of the sharpness {rule}"

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run: the optimizer and its bound."""
        edge = self._edge()
        names = [type(one).__name__ for one in self._optimizers]
        described = super().describe(view) | {"optimizer": ", ".join(names)}
        return described | {"bound": "none is known" if edge is None else edge.rule}

    def _edge(self) -> Edge | None:
        return edge_of(self._optimizers[0]) if len(self._optimizers) == 1 else None

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append sharpness and batch sharpness at this time."""
        if not view.configuration().isfinite().all():
            self.warn(f"step {view.step}: a parameter is not finite")
            return {}
        edge, nan = self._edge(), torch.full((view.shape[0],), torch.nan, dtype=torch.float64)
        with view.measuring(self.mode):
            torch.manual_seed(Stream(0, "evaluation").key(view.step))
            operator = self._operator(view)
            if not view.is_whole and not self._verified:
                operator.verify()
                self._verified = True
            g = operator.gradient if isinstance(operator, HessianOperator) else None
            sharpness = self._highest(operator, "direction", g)
            row = {"sharpness": sharpness, "edge": nan}
            if edge is not None:
                self.attributes["bound"] = edge.rule  # Adam's is known after its first step
                row["edge"] = self._in_units_of(edge, view, operator, sharpness)
            along = nan if operator.N != view.shape[1] else self._along_gradient(view, operator)
        row |= {"batch_sharpness": along, "batch_edge": along * self._half_step(edge)}
        row = {name: value.cpu() for name, value in row.items()}
        self.append(view, row)
        return {name: value.mean().item() for name, value in row.items() if not value.isnan().any()}

    def _operator(self, view: View) -> CurvatureOperator:
        if self.data is None or view.is_whole:
            return view.hessian()
        return hessian_of_data(view, all_data(self.data, view, self.mode))

    def _highest(self, operator: CurvatureOperator, name: str, gradient: Tensor | None) -> Tensor:
        """Return the highest eigenvalue, (R,); its vector is a part of the next guess.

        So is the gradient, which has a part of whatever direction takes its place.
        """
        guess = self.results.get(name)
        if guess is not None and gradient is not None:
            size = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            guess = _TRUST * (guess.to(gradient) + gradient / size.clamp_min(1e-30))
        found = lanczos(
            operator,
            1,
            "highest",
            tolerance=self.tolerance,
            max_products=self.max_products,
            start=guess,
        )
        if gradient is not None:
            self.results[name] = found.eigenvectors[:, 0].cpu()
        return found.eigenvalues[:, 0]

    def _in_units_of(
        self, edge: Edge, view: View, operator: CurvatureOperator, sharpness: Tensor
    ) -> Tensor:
        """Return the highest eigenvalue of S^{1/2} (H + w) S^{1/2} over its bound, (R,)."""
        first = edge.step_sizes[0]
        same = all(s.numel() == first.numel() <= view.shape[0] for s in edge.step_sizes)
        if same and all(bool((s.flatten() == first.flatten()).all()) for s in edge.step_sizes):
            lr = first.flatten().to(sharpness.device)
            return lr * (sharpness + edge.weight_decay) / edge.threshold
        R = view.shape[0]
        owners = {id(p) for g in self._optimizers[0].param_groups for p in g["params"]}
        if {id(p) for p in view.parameters()} != owners or operator.N != view.shape[1]:
            return torch.full_like(sharpness, torch.nan)  # the optimizer moves some of them only
        order = [p for g in self._optimizers[0].param_groups for p in g["params"]]
        sizes = {
            id(p): s.to(p.device).expand(p.shape)
            for p, s in zip(order, edge.step_sizes, strict=True)
        }
        S = flatten(sizes[id(p)].reshape(R, -1) for p in view.parameters())
        shifted = (
            operator if edge.weight_decay == 0 else ShiftedOperator(operator, edge.weight_decay)
        )
        root = S.sqrt().to(operator.dtype)
        scaled = RescaledOperator(shifted, root)
        g = root * operator.gradient if isinstance(operator, HessianOperator) else None
        return self._highest(scaled, "scaled direction", g) / edge.threshold

    def _along_gradient(self, view: View, operator: CurvatureOperator) -> Tensor:
        """Return g . H_B g / |g|^2 of the mini-batch of this step, (R,)."""
        operator = self._of_batch(view, operator)
        g = operator.gradient if isinstance(operator, HessianOperator) else view.gradient()
        Hg = operator @ g
        square = g.double().square().sum(1)
        return (g.double() * Hg.double()).sum(1) / square

    def _of_batch(self, view: View, operator: CurvatureOperator) -> CurvatureOperator:
        """Return the Hessian of the current mini-batch: in a foreign project ``operator``."""
        landscape = view.landscape
        if view.is_whole and landscape is not None:
            batch = None if self._batch_of_step is None else self._batch_of_step(view.step)
            return HessianOperator(lambda: landscape(batch), view.parameters())
        return operator if self.data is None else view.hessian()

    def _half_step(self, edge: Edge | None) -> Tensor | float:
        """Return lr / 2, for descent without momentum, where the batch sharpness has a bound."""
        if edge is None or edge.threshold != 2 or not edge.is_plain:
            return torch.nan
        return edge.step_sizes[0].item() / 2
