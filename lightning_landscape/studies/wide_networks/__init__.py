"""Wide networks of several classes and widths: at initialisation, and in training."""

from lightning_landscape.studies.wide_networks.initial_networks import Family, InitialNetworks
from lightning_landscape.studies.wide_networks.kernel_motion import KernelMotion

__all__ = ["Family", "InitialNetworks", "KernelMotion"]
