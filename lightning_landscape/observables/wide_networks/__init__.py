"""Wide networks, measured: how signals pass their layers, and their tangent kernels."""

from lightning_landscape.observables.wide_networks.kernel_statistics import (
    kernel_alignment,
    kernel_motion,
    kernel_spectrum,
)
from lightning_landscape.observables.wide_networks.module_layers import LayerInfo, layers_of
from lightning_landscape.observables.wide_networks.module_signals import module_signals
from lightning_landscape.observables.wide_networks.signal_propagation import (
    InitialSignals,
    Signals,
    initial_signals,
    signals,
)
from lightning_landscape.observables.wide_networks.tangent_kernels import (
    fully_connected_tangent_kernels,
    tangent_kernels,
)

__all__ = [
    "InitialSignals",
    "LayerInfo",
    "Signals",
    "fully_connected_tangent_kernels",
    "initial_signals",
    "kernel_alignment",
    "kernel_motion",
    "kernel_spectrum",
    "layers_of",
    "module_signals",
    "signals",
    "tangent_kernels",
]
