"""lightning_landscape: the physics of loss landscapes on PyTorch Lightning."""

__version__ = "0.1.0"
