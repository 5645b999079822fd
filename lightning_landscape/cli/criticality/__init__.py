"""The verb criticality: whether signals and gradients keep their size in a network."""

from lightning_landscape.cli.criticality.verb import main

__all__ = ["main"]
