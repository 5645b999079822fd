"""Glasses: spherical p-spin models, dense and diluted, and the spherical perceptron."""
