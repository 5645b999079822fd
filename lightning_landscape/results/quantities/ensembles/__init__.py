"""Trained ensembles: over depth, over width, and over the size of hierarchical data."""

from lightning_landscape.results.quantities.ensembles import (
    aspect_ratio,
    learning_curve,
    nearly_kernel,
    synonym_invariance,
)

__all__ = ["aspect_ratio", "learning_curve", "nearly_kernel", "synonym_invariance"]
