"""The verb diagnose: where a training stands, against which bounds, and what to do."""

from lightning_landscape.cli.diagnose.verb import main

__all__ = ["main"]
