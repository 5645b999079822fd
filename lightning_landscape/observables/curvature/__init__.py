"""Curvature: the matrices of second derivatives, and what can be known of their spectra."""

from lightning_landscape.observables.curvature.composed import (
    MeanOverRanks,
    ProjectedOperator,
    ShiftedOperator,
    SubsetOperator,
)
from lightning_landscape.observables.curvature.dense import spectrum
from lightning_landscape.observables.curvature.gauss_newton import (
    GaussNewtonOperator,
    empirical_fisher,
    split_hessian,
)
from lightning_landscape.observables.curvature.kept_graph import HessianOperator
from lightning_landscape.observables.curvature.lanczos import lanczos
from lightning_landscape.observables.curvature.linearized import linearized_hessian
from lightning_landscape.observables.curvature.matrices import (
    DenseOperator,
    ScipyOperator,
    as_scipy,
)
from lightning_landscape.observables.curvature.of_energy import hessian_of
from lightning_landscape.observables.curvature.operator import CurvatureOperator
from lightning_landscape.observables.curvature.parameters import blocks, select
from lightning_landscape.observables.curvature.peer import survey_by_pyhessian
from lightning_landscape.observables.curvature.quadrature import (
    SpectralQuadrature,
    symmetric_log_edges,
)
from lightning_landscape.observables.curvature.results import Eigenpairs
from lightning_landscape.observables.curvature.slq import stochastic_lanczos
from lightning_landscape.observables.curvature.streaming import StreamingOperator
from lightning_landscape.observables.curvature.survey import Effort, survey
from lightning_landscape.observables.curvature.tangent import TangentOperator
from lightning_landscape.observables.curvature.trace import hutchinson
from lightning_landscape.observables.curvature.xtrace import xtrace

__all__ = [
    "CurvatureOperator",
    "DenseOperator",
    "Effort",
    "Eigenpairs",
    "GaussNewtonOperator",
    "HessianOperator",
    "MeanOverRanks",
    "ProjectedOperator",
    "ScipyOperator",
    "ShiftedOperator",
    "SpectralQuadrature",
    "StreamingOperator",
    "SubsetOperator",
    "TangentOperator",
    "as_scipy",
    "blocks",
    "empirical_fisher",
    "hessian_of",
    "hutchinson",
    "lanczos",
    "linearized_hessian",
    "select",
    "spectrum",
    "split_hessian",
    "stochastic_lanczos",
    "survey",
    "survey_by_pyhessian",
    "symmetric_log_edges",
    "xtrace",
]
