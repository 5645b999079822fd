"""Dynamics: torch optimizers that move replicas in an energy."""

from lightning_landscape.dynamics.dynamics import Dynamics, dynamics_of
from lightning_landscape.dynamics.layer_rates import LayerRates
from lightning_landscape.dynamics.minimizers.decaying_adam import DecayingAdam
from lightning_landscape.dynamics.minimizers.fire import FIRE
from lightning_landscape.dynamics.minimizers.lbfgs import minimize_lbfgs
from lightning_landscape.dynamics.minimizers.minimize import Minimum, minimize
from lightning_landscape.dynamics.preconditioners.preconditioned import Preconditioned
from lightning_landscape.dynamics.saddles.saddle_descent import SaddleDescent
from lightning_landscape.dynamics.saddles.two_batch import TwoBatchDescent
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
    "LayerRates",
    "LeimkuhlerMatthews",
    "MatchedLangevin",
    "MetropolisLangevin",
    "Minimum",
    "Overdamped",
    "ParallelTempering",
    "Preconditioned",
    "Quench",
    "SaddleDescent",
    "Schedule",
    "Thermal",
    "TwoBatchDescent",
    "TwoStarts",
    "Underdamped",
    "constrain",
    "dynamics_of",
    "minimize",
    "minimize_lbfgs",
]
