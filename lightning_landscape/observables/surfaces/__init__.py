"""Loss surfaces: the loss on lines and planes through the space of configurations."""

from lightning_landscape.observables.surfaces.cut import Cut, evaluate, grid
from lightning_landscape.observables.surfaces.directions import (
    Normalization,
    PrincipalDirections,
    normalized,
    principal_directions,
    random_directions,
)
from lightning_landscape.observables.surfaces.of_energy import energy_on
from lightning_landscape.observables.surfaces.of_module import loss_on, with_parameters
from lightning_landscape.observables.surfaces.paths import Barrier, barrier

__all__ = [
    "Barrier",
    "Cut",
    "Normalization",
    "PrincipalDirections",
    "barrier",
    "energy_on",
    "evaluate",
    "grid",
    "loss_on",
    "normalized",
    "principal_directions",
    "random_directions",
    "with_parameters",
]
