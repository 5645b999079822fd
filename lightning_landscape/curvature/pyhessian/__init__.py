"""PyHessian as a backend."""
