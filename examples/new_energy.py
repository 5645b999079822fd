"""A new energy in one class: R replicas of particles in double wells, under Langevin dynamics.

    python examples/new_energy.py

On the command line, name it by its module; it does not have to be registered:

    python -m lightning_landscape fit --model.energy=examples.new_energy.DoubleWell …
"""

import torch

from lightning_landscape import Energy, Langevin


class DoubleWell(Energy):
    """E(x) = sum_i (x_i^2 - 1)^2 / 4, for each of R replicas of N particles."""

    extensive = True

    def __init__(self, N: int = 1, replicas: int = 1):
        super().__init__()
        self.replicas = replicas
        self.x = torch.nn.Parameter(torch.ones(replicas, N))

    def forward(self, batch=None):
        return (self.x.square() - 1).square().sum(dim=1) / 4


def main(steps=20_000, temperature=0.1):
    """Return <x^2> and its standard error over replicas; quadrature gives 0.871 at T = 0.1."""
    wells = DoubleWell(N=1, replicas=256)
    dynamics = Langevin(wells.parameters(), lr=0.02, temperature=temperature, seed=1)
    squares = torch.zeros(wells.replicas)
    for _ in range(steps):
        dynamics.zero_grad()
        wells().sum().backward()
        dynamics.step()
        squares += wells.x.detach()[:, 0] ** 2 / steps
    return squares.mean().item(), squares.std().item() / wells.replicas**0.5


if __name__ == "__main__":
    print("<x^2> = {:.4f} +- {:.4f}".format(*main()))
