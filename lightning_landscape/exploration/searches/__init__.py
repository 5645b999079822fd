"""Searches for stationary points from many starts at once."""
