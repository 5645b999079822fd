"""A dynamics of ours in a foreign module is recorded with its temperature."""

import pytest
import torch

from lightning_landscape import EnergyRelaxation, Langevin
from lightning_landscape.testing.probe import Classifier, train


class Thermal(Classifier):
    temperature = 99.0

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 2)

    def configure_optimizers(self):
        return Langevin(self.parameters(), lr=0.01, temperature=0.02)


class Cold(Thermal):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_the_temperature_is_that_of_the_optimizer(tmp_path):
    for module, temperature in ((Thermal(), 0.02), (Cold(), 0.0)):
        probe = EnergyRelaxation(last=2)
        train(module, tmp_path, [probe])
        assert probe.attributes["temperature"] == pytest.approx(temperature, rel=1e-6)
        assert probe.attributes["temperature_is_constant"] == 1
