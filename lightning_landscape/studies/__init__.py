"""Studies: sets of (point, seed), computed round after round, on record, resumable."""

from lightning_landscape.studies.engine import Experiment
from lightning_landscape.studies.processes import Processes, Workers
from lightning_landscape.studies.study import Round, Study

__all__ = ["Experiment", "Processes", "Round", "Study", "Workers"]
