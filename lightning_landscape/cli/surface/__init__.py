"""The verb surface: the loss on planes through checkpoints, and on paths between two of them."""

from lightning_landscape.cli.surface.verb import main

__all__ = ["main"]
