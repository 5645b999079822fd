"""The temperature of SGD from the response of a network, compared with lr D / 2, for each lr and B.

    python examples/effective_temperature.py

A network learns the digits for a while. Then two copies of it, in opposite small fields, continue
with the same mini-batches. Their displacement and response give T_eff = Delta / (2 chi). Over one
step this is exactly lr (D + |grad E|^2 / N) / 2; over many steps it also depends on the landscape.
"""

import itertools

import torch

from lightning_landscape.data import Batches, Digits
from lightning_landscape.energies import FullyConnected, NetworkEnergy, WithField
from lightning_landscape.observables.correlation import displacement
from lightning_landscape.observables.gradient_noise import (
    batch_factor,
    gradients_of,
    temperature_of_sgd,
)
from lightning_landscape.observables.response import field_response, ratio_temperature
from lightning_landscape.observables.statistics import jackknife


def temperatures(lr, batch_size, waiting_time=20.0, lags=(1, 30), replicas=16):
    """Return T_eff after each of the lags (in steps), and lr D / 2, with standard errors."""
    net = FullyConnected([64, 32, 10], replicas=replicas, activation="tanh", seed=1)
    network, batches = NetworkEnergy(net, Digits()), Batches(batch_size, seed=1, replacement=True)
    waited = round(waiting_time / lr)
    advance(network, lr, batches, range(waited))
    variance = gradients_of(network).moments().variance
    D = variance.mean(1) * batch_factor(batch_size, network.samples, replacement=True)
    predicted = jackknife(lambda T: T.mean(-1), temperature_of_sgd(lr, D).double().numpy())

    twins = WithField(network, field=1e-4, waiting_times=[0])
    start, found = twins.configuration(), []
    for done, lag in itertools.pairwise((0, *lags)):
        advance(twins, lr, batches, range(waited + done, waited + lag))
        x = twins.configuration()
        chi = field_response(*x.chunk(2), twins.signs, twins.field)
        decay = displacement(x, start).view(2, replicas).mean(0) / 2
        found.append(ratio_temperature(decay, chi))
    return [*found, tuple(map(float, predicted))]


def advance(energy, lr, batches, steps):
    """Do these steps of SGD; both copies of a replica see its mini-batches."""
    sgd = torch.optim.SGD(energy.parameters(), lr=lr)
    for step in steps:
        energy.at(step, lr)
        sgd.zero_grad()
        energy(batches(step, energy.samples, energy.replicas // energy.twins)).sum().backward()
        sgd.step()


def main(lrs=(0.05, 0.1, 0.2), batch_sizes=(8, 32, 128)):
    """Print the table."""
    print("  lr    B      T_eff, 1 step     T_eff, 30 steps           lr D / 2")
    for lr, batch_size in itertools.product(lrs, batch_sizes):
        cells = "".join(f"{T:12.2e} ± {e:.0e}" for T, e in temperatures(lr, batch_size))
        print(f"{lr:4} {batch_size:4} {cells}")


if __name__ == "__main__":
    main()
