"""Exact results for glasses, random matrices, jamming and thermal fluctuations."""
