"""Minimizers of many replicas at once."""
