"""Minima, transition states and the paths between them, many searches at once."""

from lightning_landscape.exploration.band import Bands, elastic_band
from lightning_landscape.exploration.basin_hopping import basin_hopping
from lightning_landscape.exploration.connection import connect
from lightning_landscape.exploration.coverage import chao, good_turing
from lightning_landscape.exploration.database import Database
from lightning_landscape.exploration.explorer import Explorer
from lightning_landscape.exploration.identity import Identity
from lightning_landscape.exploration.landscape import Landscape, Points
from lightning_landscape.exploration.path import find_path
from lightning_landscape.exploration.searches.eigenvector_following import eigenvector_following
from lightning_landscape.exploration.searches.follower import follow
from lightning_landscape.exploration.searches.hybrid import hybrid_eigenvector_following
from lightning_landscape.exploration.searches.levenberg_marquardt import levenberg_marquardt
from lightning_landscape.exploration.searches.newton import newton
from lightning_landscape.exploration.searches.newton_krylov import newton_krylov
from lightning_landscape.exploration.searches.quench import quench
from lightning_landscape.exploration.searches.saddles import Saddles, descend_squared_gradient
from lightning_landscape.exploration.stationary_points import StationaryPoints

__all__ = [
    "Bands",
    "Database",
    "Explorer",
    "Identity",
    "Landscape",
    "Points",
    "Saddles",
    "StationaryPoints",
    "basin_hopping",
    "chao",
    "connect",
    "descend_squared_gradient",
    "eigenvector_following",
    "elastic_band",
    "find_path",
    "follow",
    "good_turing",
    "hybrid_eigenvector_following",
    "levenberg_marquardt",
    "newton",
    "newton_krylov",
    "quench",
]
