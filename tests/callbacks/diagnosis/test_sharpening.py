"""Progressive sharpening of networks on the digits under full-batch gradient descent."""

from functools import partial

import pytest
import torch

from lightning_landscape.callbacks import EdgeOfStability
from lightning_landscape.data import Digits
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer

LR = 0.2


def sharpness(loss, times, folder):
    """Return lr lambda_max at these steps."""
    net = FullyConnected([64, 32, 32, 10], "tanh", weight_variance=0.25, replicas=1)
    energy = NetworkEnergy(net, Digits(test_fraction=0.7), loss)
    module = LandscapeModule(energy, partial(torch.optim.SGD, lr=LR))
    probe = EdgeOfStability(max_share=float("inf"))
    probe.events = lambda time_step: times
    bare_trainer([probe], times[-1], folder).fit(module)
    return LR * probe.dataset()["sharpness"].to_numpy()[:, 0]


def test_with_a_squared_loss_it_rises_to_the_edge_and_stays_there(tmp_path):
    start, *late = sharpness("squared", [20, 240, 280, 320], tmp_path)
    assert start < 1.6
    assert late == pytest.approx([2.15] * 3, abs=0.15)


def test_with_cross_entropy_it_rises_and_falls(tmp_path):
    start, middle, end = sharpness("cross_entropy", [0, 50, 400], tmp_path)
    assert start < middle / 2 and end < middle / 2
