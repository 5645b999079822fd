"""Diagnosis: where a training stands, and what bounds it."""

from lightning_landscape.callbacks.diagnosis.class_balance import ClassBalance
from lightning_landscape.callbacks.diagnosis.diagnosis import Diagnosis
from lightning_landscape.callbacks.diagnosis.edge import EdgeOfStability

__all__ = ["ClassBalance", "Diagnosis", "EdgeOfStability"]
