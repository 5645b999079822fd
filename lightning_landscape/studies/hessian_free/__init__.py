"""Searches for saddles with and without Hessians, compared."""

from lightning_landscape.studies.hessian_free.study import HessianFree

__all__ = ["HessianFree"]
