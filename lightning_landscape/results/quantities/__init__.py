"""One module for each quantity, with its rows, its panels and its exact curve.

Importing this package registers all of them; their order is that of a comparison of runs.
"""

from lightning_landscape.results.quantities import energy  # noqa: I001  in the order of comparisons
from lightning_landscape.results.quantities import aging, response, damage
from lightning_landscape.results.quantities import spectrum, gradient_noise, noise_spectrum
from lightning_landscape.results.quantities import stationarity, fluctuations
from lightning_landscape.results.quantities import equilibration, learning_coefficient
from lightning_landscape.results.quantities import finite_size, jamming
from lightning_landscape.results.quantities import exploration
from lightning_landscape.results.quantities import class_balance, edge, ensembles, surfaces
from lightning_landscape.results.quantities import preconditioning, wide_networks, sweep

__all__ = [
    "aging",
    "class_balance",
    "damage",
    "edge",
    "energy",
    "ensembles",
    "equilibration",
    "exploration",
    "finite_size",
    "fluctuations",
    "gradient_noise",
    "jamming",
    "learning_coefficient",
    "noise_spectrum",
    "preconditioning",
    "response",
    "spectrum",
    "stationarity",
    "surfaces",
    "sweep",
    "wide_networks",
]
