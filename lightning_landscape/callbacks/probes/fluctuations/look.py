"""Where a run at temperature T is, how it is curved there, and how far it has moved since."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.results import Eigenpairs, Estimate
from lightning_landscape.curvature.trace import hutchinson
from lightning_landscape.data.batches import Batches
from lightning_landscape.energies.energy import HasGaps
from lightning_landscape.observables.dimension import Sketch
from lightning_landscape.observables.fluctuations import (
    active_data,
    displacement_along,
    near_boundary,
    orthogonal_directions,
)
from lightning_landscape.observables.gradient_noise import (
    batch_factor,
    gradients_of,
    temperature_of_sgd,
)
from lightning_landscape.rng import Stream

__all__ = [
    "PRODUCTS",
    "batch_temperature",
    "batches_that_heat",
    "departure",
    "displacements",
    "look",
]

PRODUCTS = 20  # for each leading eigenvector, at most


def look(view: View, k: int, random_vectors: int, boundary: float) -> dict[str, Tensor]:
    """Return energy, |grad U|^2, tr H, leading eigenvalues, counts of data and a sketch.

    Args:
        view: the run at this moment.
        k: leading eigenvalues.
        random_vectors: how many for the trace.
        boundary: data within this margin of the decision boundary are counted.
    """
    with view.measuring():
        # every look has its own random vectors, and dropout masks are functions of the step
        seed = Stream(0, "look").key(view.step) % 2**31
        torch.manual_seed(seed)
        operator = view.hessian()
        if not view.is_whole:
            operator.verify()
        pairs = lanczos(operator, k, "highest", tolerance=0.01, max_products=PRODUCTS * k)
        trace = _trace(operator, pairs, random_vectors, seed)
        torch.manual_seed(seed)
        gradient = _gradient(view)
        with torch.no_grad():
            energy = view.reduce(view.energy().double(), "mean").cpu()
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


def departure(view: View, k: int) -> dict[str, Tensor]:
    """Return where the run is, the k stiffest directions there and k flat ones, with curvatures."""
    with view.measuring():
        operator = view.hessian()
        pairs = lanczos(operator, k, "highest", max_products=2 * PRODUCTS * k)
        stiff = operator.lift(pairs.eigenvectors)
    random = Stream(0, "flat").normal_(torch.empty(stiff.shape[1:]), step=0)
    flat = orthogonal_directions(stiff, random.expand(stiff.shape))
    here = view.configuration()
    return {"origin": here, "stiff": stiff, "flat": flat, "curvatures": pairs.eigenvalues}


def displacements(view: View, since: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean squared displacement since a `departure` along both, each (R,)."""
    here = view.configuration()
    return {
        f"msd_{name}": displacement_along(here, since["origin"], since[name])
        for name in ("stiff", "flat")
    }


def _trace(
    operator: CurvatureOperator, pairs: Eigenpairs, random_vectors: int, seed: int
) -> Estimate:
    if operator.gradient_cost != 0 and operator.N > random_vectors + pairs.eigenvalues.shape[1]:
        return hutchinson(operator, random_vectors, deflate=pairs, seed=seed).trace
    exact = operator.dense().diagonal(dim1=1, dim2=2).double().sum(1).cpu()
    return Estimate(exact, torch.zeros_like(exact))


def _counts(view: View, boundary: float) -> dict[str, Tensor]:
    if not isinstance(view.landscape, HasGaps):
        return {}
    gaps = view.gaps() - view.landscape.margin
    return {"near_boundary": near_boundary(gaps, boundary), "active_data": active_data(gaps)}


def _gradient(view: View) -> Tensor:
    """Return the gradient, (R, N), float64; on a sphere its tangent part."""
    gradient = view.gradient().double()
    if view.landscape is not None and view.landscape.constraint is not None:
        return view.landscape.constraint.project_(gradient, view.configuration().double())
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
    D = (
        batch_factor(batches.batch_size, landscape.samples, batches.replacement)
        * source.moments().variance
    )
    lr = torch.as_tensor(view.step_sizes, dtype=torch.float64)
    return temperature_of_sgd(lr, D.mean(1).double().cpu())
