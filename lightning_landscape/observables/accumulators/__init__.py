"""Accumulators: statistics of what arrives in parts."""
