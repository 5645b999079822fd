"""LayerRates: the rates of the theory, in any optimizer, from Python and from YAML."""

from functools import partial

import numpy as np
import pytest
import torch

from lightning_landscape.activations import ACTIVATIONS
from lightning_landscape.cli.fit import LandscapeCLI
from lightning_landscape.dynamics import Langevin, LayerRates
from lightning_landscape.energies import FullyConnected, SmallConvNet
from lightning_landscape.errors import UsageError
from lightning_landscape.theory.wide_networks import learning_rates

WIDTHS = [6, 20, 20, 20, 2]


def rates(made, net):
    """The learning rate of each parameter, by its name."""
    names = {p: name for name, p in net.named_parameters()}
    return {names[group["params"][0]]: group["lr"] for group in made.param_groups}


@pytest.mark.parametrize("activation", [n for n, sigma in ACTIVATIONS.items() if sigma.critical])
def test_rates_are_those_of_the_theory(activation):
    net = FullyConnected(WIDTHS, activation)
    found = rates(LayerRates(partial(torch.optim.SGD, lr=0.3), activation)(net.parameters()), net)
    exact = learning_rates(activation, depth=4)
    for l, fan_in in enumerate(WIDTHS[:-1]):
        assert found[f"weights.{l}"] == pytest.approx(0.3 * exact.weight[l] / fan_in, rel=1e-8)
        assert found[f"biases.{l}"] == pytest.approx(0.3 * exact.bias[l], rel=1e-8)


def test_the_maximal_update_needs_no_width():
    """s = 1: hidden layers learn at a rate without a factor of the width, the last at 1/width."""
    made = {}
    for n in (20, 80):
        net = FullyConnected([6, n, n, 2], "relu", width_exponent=1.0)
        made[n] = rates(LayerRates(partial(torch.optim.SGD, lr=3.0), width_exponent=1.0)
                        (net.parameters()), net)  # fmt: skip
    assert made[20]["weights.1"] == made[80]["weights.1"] == 1.0
    assert made[20]["weights.2"] == 4 * made[80]["weights.2"]
    assert made[80]["weights.0"] == 4 * made[20]["weights.0"]
    assert made[80]["biases.2"] == 1.0


@pytest.mark.parametrize("s", [0.0, 1.0])
def test_features_move_by_a_power_of_the_width(s):
    """Outputs move alike at any width; the features of the last hidden layer by n^((s-1)/2)."""
    moved = {}
    for n in (64, 256):
        net = FullyConnected([8, n, n, 1], "tanh", 20, 1, dtype="float64", width_exponent=s)
        x = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        descent = LayerRates(partial(torch.optim.SGD, lr=1e-4), "tanh", s)(net.parameters())
        z = net.preactivations(tuple(net.parameters()), x)
        z[-1].sum().backward()
        descent.step()
        after = net.preactivations(tuple(net.parameters()), x)
        moved[n] = [
            (b - a).detach().square().mean().sqrt().item() for a, b in zip(z, after, strict=True)
        ]
    output, features = (np.log(moved[256][l] / moved[64][l]) / np.log(4) for l in (-1, -2))
    assert output == pytest.approx(0, abs=0.08)
    assert features == pytest.approx((s - 1) / 2, abs=0.08)


def test_replicas_keep_their_own_rates_under_langevin():
    net = FullyConnected([6, 5, 2], replicas=2)
    made = LayerRates(partial(Langevin, lr=[0.1, 0.2], temperature=0.1))(net.parameters())
    assert rates(made, net)["weights.0"].tolist() == pytest.approx([0.1 / 12, 0.2 / 12])


def test_convolutions_are_layers_too():
    net = SmallConvNet([1, 8, 8], channels=[3, 4])
    made = LayerRates(partial(torch.optim.SGD, lr=1.0))(net.parameters())
    found = [group["lr"] for group in made.param_groups]
    assert found == pytest.approx([1 / 27, 1 / 3, 1 / 81, 1 / 3, 1 / 48, 1 / 3])


def test_other_parameters_are_refused():
    with pytest.raises(UsageError, match=r"parameters of shapes .*weights of layers"):
        LayerRates(partial(torch.optim.SGD, lr=1.0))([torch.zeros(1, 3)])
    with pytest.raises(UsageError, match=r"^width_exponent = 2"):
        LayerRates(partial(torch.optim.SGD, lr=1.0), width_exponent=2)


def test_from_a_configuration(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("""
model:
  energy:
    class_path: NetworkEnergy
    init_args:
      architecture:
        class_path: FullyConnected
        init_args: {widths: [64, 16, 10], activation: tanh, initialization: critical}
      data: {class_path: Digits}
  optimizer:
    class_path: LayerRates
    init_args:
      activation: tanh
      optimizer: {class_path: Langevin, init_args: {lr: 0.5, temperature: 1.0e-4}}
""")
    module = LandscapeCLI(["--config", str(config), "--trainer.logger=false"], run=False).model
    lr = [group["lr"] for group in module.dynamics.param_groups]
    assert lr == pytest.approx([0.5 / 64, 0.5 / 16, 0.5, 0.25])
    assert isinstance(module.dynamics, Langevin) and module.time_step == 1.0
