"""Energy fluctuations at temperature T in quadratic valleys and between exponential walls."""
