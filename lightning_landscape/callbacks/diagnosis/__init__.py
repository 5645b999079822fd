"""Diagnosis: where a training stands, and what bounds it."""

from lightning_landscape.callbacks.diagnosis.class_balance import ClassBalance
from lightning_landscape.callbacks.diagnosis.diagnosis import Diagnosis
from lightning_landscape.callbacks.diagnosis.edge import EdgeOfStability
from lightning_landscape.callbacks.diagnosis.preconditioning import Preconditioning
from lightning_landscape.callbacks.diagnosis.step_noise import StepNoise

__all__ = ["ClassBalance", "Diagnosis", "EdgeOfStability", "Preconditioning", "StepNoise"]
