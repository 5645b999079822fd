"""Stationary points of any index, by gradients only."""
