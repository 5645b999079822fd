"""Curvature: the matrices of second derivatives, and what can be known of their spectra."""

from lightning_landscape.curvature.dense import spectrum
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.composed import (
    MeanOverRanks,
    ProjectedOperator,
    ShiftedOperator,
    SubsetOperator,
)
from lightning_landscape.curvature.operators.gauss_newton import (
    GaussNewtonOperator,
    empirical_fisher,
    split_hessian,
)
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.curvature.operators.linearized import linearized_hessian
from lightning_landscape.curvature.operators.matrices import (
    DenseOperator,
    ScipyOperator,
    as_scipy,
)
from lightning_landscape.curvature.operators.of_energy import hessian_of
from lightning_landscape.curvature.operators.parameters import blocks, select
from lightning_landscape.curvature.operators.streaming import StreamingOperator
from lightning_landscape.curvature.operators.tangent import TangentOperator
from lightning_landscape.curvature.parts import highest_of_parts
from lightning_landscape.curvature.pyhessian.summary import summary_by_pyhessian
from lightning_landscape.curvature.quadrature import (
    SpectralQuadrature,
    symmetric_log_edges,
)
from lightning_landscape.curvature.results import Eigenpairs
from lightning_landscape.curvature.slq import stochastic_lanczos
from lightning_landscape.curvature.summary import Budget, spectrum_summary
from lightning_landscape.curvature.trace import hutchinson
from lightning_landscape.curvature.xtrace import xtrace

__all__ = [
    "Budget",
    "CurvatureOperator",
    "DenseOperator",
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
    "highest_of_parts",
    "hutchinson",
    "lanczos",
    "linearized_hessian",
    "select",
    "spectrum",
    "spectrum_summary",
    "split_hessian",
    "stochastic_lanczos",
    "summary_by_pyhessian",
    "symmetric_log_edges",
    "xtrace",
]
