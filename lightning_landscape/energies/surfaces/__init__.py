"""Surfaces and clusters whose stationary points are tabulated, and any function as an energy."""
