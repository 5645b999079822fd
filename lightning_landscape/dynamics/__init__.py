"""Dynamics: torch optimizers that move replicas in an energy."""

from lightning_landscape.dynamics.decaying_adam import DecayingAdam
from lightning_landscape.dynamics.fire import FIRE
from lightning_landscape.dynamics.ladder import Ladder, TwoStarts
from lightning_landscape.dynamics.langevin import Langevin
from lightning_landscape.dynamics.leimkuhler_matthews import LeimkuhlerMatthews
from lightning_landscape.dynamics.matched import MatchedLangevin
from lightning_landscape.dynamics.metropolis import MetropolisLangevin
from lightning_landscape.dynamics.minimize import Minimum, minimize
from lightning_landscape.dynamics.overdamped import Overdamped
from lightning_landscape.dynamics.polish import polish
from lightning_landscape.dynamics.schedules import Anneal, Constant, Cycle, Quench, Schedule
from lightning_landscape.dynamics.sphere import constrain
from lightning_landscape.dynamics.tempering import ParallelTempering
from lightning_landscape.dynamics.thermal import Thermal
from lightning_landscape.dynamics.underdamped import Underdamped

__all__ = [
    "FIRE",
    "Anneal",
    "Constant",
    "Cycle",
    "DecayingAdam",
    "Ladder",
    "Langevin",
    "LeimkuhlerMatthews",
    "MatchedLangevin",
    "MetropolisLangevin",
    "Minimum",
    "Overdamped",
    "ParallelTempering",
    "Quench",
    "Schedule",
    "Thermal",
    "TwoStarts",
    "Underdamped",
    "constrain",
    "minimize",
    "polish",
]
