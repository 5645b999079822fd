"""How far a run at temperature T has moved along stiff and along flat directions."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.callbacks.probes._fluctuation_look import PRODUCTS, curvature
from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.observables.fluctuations import displacement_along, orthogonal_directions
from lightning_landscape.rng import Stream

__all__ = ["departure", "displacements"]


def departure(view: View, k: int) -> dict[str, Tensor]:
    """Return where the run is, the k stiffest directions there and k flat ones, with curvatures."""
    with view.measuring():
        operator = curvature(view)
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
