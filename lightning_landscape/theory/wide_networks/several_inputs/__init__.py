"""Averages over two inputs and more, and the fluctuations of their metric."""
