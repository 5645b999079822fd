"""A new dynamics in a few lines: Langevin dynamics with bounded noise.

    python examples/new_dynamics.py

On the command line, name it by its module; it does not have to be registered:

    python -m lightning_landscape fit --model.optimizer=examples.new_dynamics.BoundedLangevin …
"""

import torch

from lightning_landscape import Quadratic
from lightning_landscape.dynamics import Overdamped
from lightning_landscape.dynamics.samplers.noise import Noise


class UniformNoise(Noise):
    """Uniform numbers in (-sqrt 3, sqrt 3), of mean 0 and variance 1, as functions of the step."""

    def __call__(self, step):
        normal = super().__call__(step)
        return {p: (xi / 2**0.5).erf() * 3**0.5 for p, xi in normal.items()}


class BoundedLangevin(Overdamped):
    """x <- x - lr grad E + sqrt(2 lr T) u with u uniform, so that no step is ever long.

    To first order in lr averages need the first three moments of the noise only, and those of u
    are the moments of a normal number. In a harmonic well of curvature k the variance of x is
    T / [k (1 - lr k / 2)].

    Source: Kloeden and Platen, Numerical Solution of Stochastic Differential Equations (1992),
    section 14.1 (weak schemes).
    """

    noise = UniformNoise

    def amplitude(self, lr, temperature):
        return (2 * lr * temperature) ** 0.5


def main(steps=400, lr=0.1, temperature=0.5):
    """Return Var x, its standard error, and the exact value for wells of curvature 1."""
    wells = Quadratic(spectrum=[1.0] * 100, replicas=200)
    dynamics = BoundedLangevin(wells.parameters(), lr=lr, temperature=temperature, seed=1)
    for _ in range(steps):
        dynamics.zero_grad()
        wells().sum().backward()
        dynamics.step()
    variance = wells.configuration().detach().square().mean(dim=1)
    error = variance.std().item() / len(variance) ** 0.5
    return variance.mean().item(), error, temperature / (1 - lr / 2)


if __name__ == "__main__":
    torch.manual_seed(0)
    print("Var x = {:.4f} +- {:.4f}, exact {:.4f}".format(*main()))
