"""One look at where a run at temperature T is: curvature, gradient, data, mini-batches."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.composed import MeanOverRanks
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.curvature.operators.of_energy import hessian_of
from lightning_landscape.curvature.results import Eigenpairs, Estimate
from lightning_landscape.curvature.trace import hutchinson
from lightning_landscape.data.batches import Batches
from lightning_landscape.observables.dimension import Sketch
from lightning_landscape.observables.fluctuations import active_data, gradient_of, near_boundary
from lightning_landscape.observables.gradient_noise import (
    batch_factor,
    gradients_of,
    matched_temperature,
)
from lightning_landscape.rng import Stream

__all__ = ["PRODUCTS", "batch_temperature", "batches_that_heat", "curvature", "look"]

PRODUCTS = 20  # a leading eigenvector, at most


def look(view: View, k: int, probes: int, boundary: float) -> dict[str, Tensor]:
    """Return energy, |grad U|^2, tr H, leading eigenvalues, counts of data and a sketch.

    Args:
        view: the run at this moment.
        k: leading eigenvalues.
        probes: random vectors of the trace.
        boundary: data within this margin of the decision boundary are counted.
    """
    with view.measuring():
        # every look has its own random vectors, and dropout masks are functions of the step
        seed = Stream(0, "look").key(view.step) % 2**31
        torch.manual_seed(seed)
        operator = curvature(view)
        pairs = lanczos(operator, k, "highest", tolerance=0.01, max_products=PRODUCTS * k)
        trace = _trace(operator, pairs, probes, seed)
        torch.manual_seed(seed)
        gradient = _gradient(view)
        with torch.no_grad():
            energy = view.energy().double().cpu()
            row = _counts(view, boundary)
        if batches_that_heat(view) is not None:
            row["batch_temperature"] = batch_temperature(view)
    return row | {
        "energy": energy,
        "gradient_square": gradient.square().sum(1).cpu(),
        "trace": trace.value,
        "trace_error": trace.error,
        "eigenvalues": pairs.eigenvalues,
        "sketch": Sketch(view.shape[1])(view.configuration()),
    }


def curvature(view: View) -> CurvatureOperator:
    """Return the Hessian of the energy of ``view``, under DDP its mean; inside `measuring`."""
    if view.landscape is not None and not view.has_own_loss:
        return hessian_of(view.landscape)
    operator = HessianOperator(view.energy, view.parameters())
    return MeanOverRanks(operator) if _distributed() else operator


def _trace(operator: CurvatureOperator, pairs: Eigenpairs, probes: int, seed: int) -> Estimate:
    if operator.gradient_cost != 0 and operator.N > probes + pairs.eigenvalues.shape[1]:
        return hutchinson(operator, probes, deflate=pairs, seed=seed).trace
    exact = operator.dense().diagonal(dim1=1, dim2=2).double().sum(1).cpu()
    return Estimate(exact, torch.zeros_like(exact))


def _counts(view: View, boundary: float) -> dict[str, Tensor]:
    if not hasattr(view.landscape, "gaps"):
        return {}
    margin: float = getattr(view.landscape, "margin", 0.0)
    gaps = view.gaps() - margin
    return {"near_boundary": near_boundary(gaps, boundary), "active_data": active_data(gaps)}


def _gradient(view: View) -> Tensor:
    """Return the gradient, (R, N), float64; on a sphere its tangent part."""
    gradient = gradient_of(view.energy, view.parameters(), view.shape[0])
    if view.landscape is not None and view.landscape.constraint is not None:
        return view.landscape.constraint.project_(gradient, view.configuration().double())
    if view.landscape is None and _distributed():
        torch.distributed.all_reduce(gradient)
        gradient /= torch.distributed.get_world_size()
    return gradient


def batches_that_heat(view: View) -> Batches | None:
    """Return the mini-batches of a run whose dynamics has no temperature of its own."""
    cold = not torch.as_tensor(view.temperature).any()
    return view.batches if cold and view.step_sizes is not None else None


def batch_temperature(view: View) -> Tensor:
    """Return T = lr D / 2 of plain SGD at this moment, (R,) float64; inside `measuring`."""
    batches, landscape = batches_that_heat(view), view.landscape
    assert batches is not None and landscape is not None
    source = gradients_of(landscape)  # type: ignore[arg-type]  # it refuses what is no network
    P: int = landscape.samples  # type: ignore[assignment]
    D = batch_factor(batches.batch_size, P, batches.replacement) * source.moments().variance
    lr = torch.as_tensor(view.step_sizes, dtype=torch.float64)
    return matched_temperature(lr, D.mean(1).double().cpu())  # type: ignore[arg-type]


def _distributed() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()
