"""Valleys at temperature T: harmonic, quadratic, and between exponential walls."""
