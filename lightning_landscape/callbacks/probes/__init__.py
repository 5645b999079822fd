"""Callbacks that measure: they leave the trajectory as it is, bit for bit."""
