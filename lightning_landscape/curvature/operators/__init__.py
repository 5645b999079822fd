"""Matrices of second derivatives as operators with ``@``."""
