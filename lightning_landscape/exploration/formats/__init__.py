"""Databases of stationary points in the files of other programs."""

from lightning_landscape.exploration.formats.graph import to_networkx
from lightning_landscape.exploration.formats.pathsample import read_pathsample, write_pathsample
from lightning_landscape.exploration.formats.pele import read_pele, write_pele
from lightning_landscape.exploration.formats.topsearch import read_topsearch, write_topsearch

__all__ = [
    "read_pathsample",
    "read_pele",
    "read_topsearch",
    "to_networkx",
    "write_pathsample",
    "write_pele",
    "write_topsearch",
]
