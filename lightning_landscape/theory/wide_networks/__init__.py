"""Effective theory of deep networks of width n and depth L: criticality, kernels, fluctuations."""

from lightning_landscape.theory.wide_networks.aspect_ratio import (
    mutual_information,
    mutual_information_series,
    optimal_aspect_ratio,
)
from lightning_landscape.theory.wide_networks.averages import GaussianAverages
from lightning_landscape.theory.wide_networks.bayesian import (
    bayesian_first_order,
    bayesian_sampled,
)
from lightning_landscape.theory.wide_networks.closed_forms import (
    linear_metric_variance,
    relu_metric_variance,
    relu_tangent_variance,
)
from lightning_landscape.theory.wide_networks.criticality import (
    Criticality,
    Rates,
    criticality,
    learning_rates,
)
from lightning_landscape.theory.wide_networks.first_order import FirstOrder, first_order
from lightning_landscape.theory.wide_networks.gradient_flow import gradient_flow_first_order
from lightning_landscape.theory.wide_networks.guessing_bias import repeated_guess, share_density
from lightning_landscape.theory.wide_networks.kernels import Kernels, input_kernel, kernels
from lightning_landscape.theory.wide_networks.layer import Flow, Layer
from lightning_landscape.theory.wide_networks.metric_law import MetricLaw, metric_law
from lightning_landscape.theory.wide_networks.prediction import (
    Prediction,
    bayesian,
    gradient_descent,
)
from lightning_landscape.theory.wide_networks.sampling.chain import (
    Chain,
    sample_chain,
    sample_metrics,
)
from lightning_landscape.theory.wide_networks.sampling.estimators import (
    MetricMoments,
    next_metric_moments,
    pooled_metric_variance,
)
from lightning_landscape.theory.wide_networks.sampling.kernel_derivative import (
    KernelDerivative,
    sample_kernel_derivative,
)
from lightning_landscape.theory.wide_networks.sampling.residual import (
    ResidualSamples,
    linear_residual_vertex,
    sample_residual,
)
from lightning_landscape.theory.wide_networks.sampling.tangent_statistics import (
    TangentStatistics,
    sample_tangent_statistics,
)
from lightning_landscape.theory.wide_networks.several_inputs.many_inputs import (
    ManyInputs,
    many_inputs,
)
from lightning_landscape.theory.wide_networks.several_inputs.pair_averages import PairAverages
from lightning_landscape.theory.wide_networks.several_inputs.training_tensors import (
    TrainingTensors,
    training_tensors,
)
from lightning_landscape.theory.wide_networks.several_inputs.two_inputs import TwoInputs, two_inputs

__all__ = [
    "Chain",
    "Criticality",
    "FirstOrder",
    "Flow",
    "GaussianAverages",
    "KernelDerivative",
    "Kernels",
    "Layer",
    "ManyInputs",
    "MetricLaw",
    "MetricMoments",
    "PairAverages",
    "Prediction",
    "Rates",
    "ResidualSamples",
    "TangentStatistics",
    "TrainingTensors",
    "TwoInputs",
    "bayesian",
    "bayesian_first_order",
    "bayesian_sampled",
    "criticality",
    "first_order",
    "gradient_descent",
    "gradient_flow_first_order",
    "input_kernel",
    "kernels",
    "learning_rates",
    "linear_metric_variance",
    "linear_residual_vertex",
    "many_inputs",
    "metric_law",
    "mutual_information",
    "mutual_information_series",
    "next_metric_moments",
    "optimal_aspect_ratio",
    "pooled_metric_variance",
    "relu_metric_variance",
    "relu_tangent_variance",
    "repeated_guess",
    "sample_chain",
    "sample_kernel_derivative",
    "sample_metrics",
    "sample_residual",
    "sample_tangent_statistics",
    "share_density",
    "training_tensors",
    "two_inputs",
]
