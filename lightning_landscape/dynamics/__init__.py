"""Dynamics: torch optimizers that move replicas in an energy."""

from lightning_landscape.dynamics.langevin import Langevin
from lightning_landscape.dynamics.leimkuhler_matthews import LeimkuhlerMatthews
from lightning_landscape.dynamics.overdamped import Overdamped
from lightning_landscape.dynamics.schedules import Anneal, Constant, Cycle, Quench, Schedule
from lightning_landscape.dynamics.sphere import constrain

__all__ = [
    "Anneal",
    "Constant",
    "Cycle",
    "Langevin",
    "LeimkuhlerMatthews",
    "Overdamped",
    "Quench",
    "Schedule",
    "constrain",
]
