"""Minima, transition states and saddles: what was found, how they are connected, what follows."""

from lightning_landscape.results.quantities.exploration import hessian_free, landscapes
from lightning_landscape.results.quantities.exploration.record import Exploration

__all__ = ["Exploration", "hessian_free", "landscapes"]
