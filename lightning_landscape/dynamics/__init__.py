"""Dynamics: torch optimizers that move replicas in an energy."""

from lightning_landscape.dynamics.dynamics import Dynamics, dynamics_of
from lightning_landscape.dynamics.minimizers.decaying_adam import DecayingAdam
from lightning_landscape.dynamics.minimizers.fire import FIRE
from lightning_landscape.dynamics.minimizers.lbfgs import minimize_lbfgs
from lightning_landscape.dynamics.minimizers.minimize import Minimum, minimize
from lightning_landscape.dynamics.samplers.ladder import Ladder, TwoStarts
from lightning_landscape.dynamics.samplers.langevin import Langevin
from lightning_landscape.dynamics.samplers.leimkuhler_matthews import LeimkuhlerMatthews
from lightning_landscape.dynamics.samplers.matched import MatchedLangevin
from lightning_landscape.dynamics.samplers.metropolis import MetropolisLangevin
from lightning_landscape.dynamics.samplers.overdamped import Overdamped
from lightning_landscape.dynamics.samplers.tempering import ParallelTempering
from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.dynamics.samplers.underdamped import Underdamped
from lightning_landscape.dynamics.schedules import Anneal, Constant, Cycle, Quench, Schedule
from lightning_landscape.dynamics.sphere import constrain

__all__ = [
    "FIRE",
    "Anneal",
    "Constant",
    "Cycle",
    "DecayingAdam",
    "Dynamics",
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
    "dynamics_of",
    "minimize",
    "minimize_lbfgs",
]
