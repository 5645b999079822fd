"""What follows exactly from the stationary points of a landscape, and how many there are."""

from lightning_landscape.theory.landscapes.embedding import embedding_spectrum
from lightning_landscape.theory.landscapes.index_law import index_fraction
from lightning_landscape.theory.landscapes.kac_rice import mean_by_index
from lightning_landscape.theory.landscapes.lowest_path import lowest_path
from lightning_landscape.theory.landscapes.merge_tree import MergeTree, merge_tree
from lightning_landscape.theory.landscapes.published import Published, published
from lightning_landscape.theory.landscapes.rates import (
    equilibrium,
    first_passage_times,
    graph_transformation,
    rate_matrix,
)
from lightning_landscape.theory.landscapes.superposition import Superposition

__all__ = [
    "MergeTree",
    "Published",
    "Superposition",
    "embedding_spectrum",
    "equilibrium",
    "first_passage_times",
    "graph_transformation",
    "index_fraction",
    "lowest_path",
    "mean_by_index",
    "merge_tree",
    "published",
    "rate_matrix",
]
