"""Samplers: Langevin dynamics and its kin."""
