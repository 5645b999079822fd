"""Effective theory of deep networks of width n and depth L: criticality, kernels, fluctuations."""

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
from lightning_landscape.theory.wide_networks.layer import Flow, Layer
from lightning_landscape.theory.wide_networks.metric_law import MetricLaw, metric_law
from lightning_landscape.theory.wide_networks.metric_vertex import MetricVertex, metric_vertex

__all__ = [
    "Criticality",
    "FirstOrder",
    "Flow",
    "Layer",
    "MetricLaw",
    "MetricVertex",
    "Rates",
    "criticality",
    "first_order",
    "learning_rates",
    "linear_metric_variance",
    "metric_law",
    "metric_vertex",
    "relu_metric_variance",
    "relu_tangent_variance",
]
