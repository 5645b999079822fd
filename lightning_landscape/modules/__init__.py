"""LightningModules: thin shells around energies and dynamics."""

from lightning_landscape.modules.landscape import LandscapeModule

__all__ = ["LandscapeModule"]
