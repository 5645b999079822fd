"""TemperatureFluctuations: the energy of every step at temperature T, and the curvature there."""

from lightning_landscape.callbacks.probes.fluctuations.probe import TemperatureFluctuations

__all__ = ["TemperatureFluctuations"]
