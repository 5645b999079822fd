"""The loss on lines and planes through the weights, and along paths between checkpoints."""

from lightning_landscape.results.quantities.surfaces.path import LossPath
from lightning_landscape.results.quantities.surfaces.surface import LossSurface

__all__ = ["LossPath", "LossSurface"]
