"""Sampling on the replica axis: what a chain costs beside others, and a learning coefficient.

The limit of many chains is arithmetic: a chain of 737 parameters on 40 data needs some 0.2 Mflop a
step and 737 normals; a single one pays some 80 calls of torch for them.
"""

import pytest
import torch
from torch import nn

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Ladder, Langevin, LeimkuhlerMatthews
from lightning_landscape.dynamics.samplers.conventions import to_devinterp
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.observables.learning_coefficient import learning_coefficient

T, LR, LOCALISATION, CHAINS, BURN_IN, STEPS = 1e-3, 0.02, 100.0, 64, 50, 200


@pytest.fixture(autouse=True)
def one_core():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(replicas):
    net = FullyConnected([10, 16, 16, 16, 1], activation="tanh", replicas=replicas, seed=1)
    return NetworkEnergy(net, RandomData(samples=40, dimension=10, seed=1))


def closure_of(energy, optimizer):
    def closure():
        optimizer.zero_grad()
        E = energy()
        E.sum().backward()
        return E.detach()

    return closure


def chain_steps(replicas, lr, temperature, steps):
    energy = network(replicas)
    dynamics = Langevin(energy.parameters(), lr, temperature)
    closure = closure_of(energy, dynamics)

    def call():
        for _ in range(steps):
            dynamics.step(closure)

    return call


def test_a_ladder_of_64_chains_against_a_single_chain(compare):
    """640 chain-steps of each; temperatures and steps of the ladder differ by rung."""
    compare(
        "chain-step, ladder of 8 x 8, 737 parameters",
        chain_steps(64, Ladder(0.5, 0.01, 8), Ladder(1e-5, 1e-3, 8), steps=10),
        chain_steps(1, 0.1, 1e-4, steps=640),
        against="a single chain",
        at_least=10,
    )


def minimum():
    """One network after 2000 steps of descent, its weights repeated for the chains."""
    one, many = network(1), network(CHAINS)
    descent = torch.optim.SGD(one.parameters(), lr=0.3)
    closure = closure_of(one, descent)
    for _ in range(2000):
        descent.step(closure)
    many.load_configuration(one.configuration().expand(CHAINS, -1))
    return one, many


def module_of(energy):
    """The same network as a torch module."""
    net, layers = energy.architecture, []
    for W, b in zip(net.weights, net.biases, strict=True):
        layer = nn.Linear(W.shape[2], W.shape[1])
        with torch.no_grad():
            layer.weight.copy_(W[0])
            layer.bias.copy_(b[0])
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def test_a_learning_coefficient_against_devinterp(compare):
    """As many chains and steps of as long a step; the error bars are checked to be the same.

    Devinterp runs its chains one after another; this is its optimizer in the barest loop, without
    what its sampler does beside.
    """
    optim = pytest.importorskip("devinterp.optim", reason="devinterp is not installed")
    one, many = minimum()
    data, found = RandomData(samples=40, dimension=10, seed=1), {}
    y = data.targets[:, None].float()
    start, loss = module_of(one), nn.BCEWithLogitsLoss()
    with torch.no_grad():
        first = loss(start(data.inputs), y).item()
        assert first == pytest.approx(one().item(), rel=1e-4)

    def ours():
        sampler = LeimkuhlerMatthews(many.parameters(), LR, T, seed=1)
        found["ours"] = learning_coefficient(many, sampler, STEPS, BURN_IN, LOCALISATION).value

    def theirs():
        values = []
        for _ in range(CHAINS):
            model, total = module_of(one), 0.0
            sampler = optim.SGMCMC.sgld(
                model.parameters(), **to_devinterp(LR, T), localization=LOCALISATION
            )
            for step in range(BURN_IN + STEPS):
                value = loss(model(data.inputs), y)
                value.backward()
                sampler.step()
                sampler.zero_grad()
                total += value.item() - first if step >= BURN_IN else 0.0
            values.append(total / STEPS / T)
        found["theirs"] = torch.tensor(values)

    compare(
        f"learning coefficient, {CHAINS} chains of {STEPS} steps",
        ours,
        theirs,
        against="devinterp's SGLD",
        at_least=10,
        rounds=3,
    )
    errors = {name: value.std() / CHAINS**0.5 for name, value in found.items()}
    # with the tails that the values have, each scatter of 64 is uncertain by 15 %: 4 sigma
    assert 0.4 < errors["ours"] / errors["theirs"] < 2.5
    difference = found["ours"].mean() - found["theirs"].mean()
    assert difference.abs() < 4 * (errors["ours"] ** 2 + errors["theirs"] ** 2).sqrt()
