"""The price of complete isolation: at most 5 % of one evaluation where nothing has side effects."""

import pytorch_lightning as pl
import torch
from torch import nn

from lightning_landscape.callbacks.isolation import isolated


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 200), nn.ReLU(), nn.Linear(200, 10)
        )

    def training_step(self, batch, batch_idx):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)


def test_isolation_of_an_evaluation(compare):
    module = Module()
    batch = (torch.randn(256, 784), torch.randint(10, (256,)))

    def gradient(loss):
        torch.autograd.grad(loss, list(module.parameters()))

    def isolated_evaluation():
        with isolated(module, batch) as copied:
            loss = module.training_step(copied, 0)
        gradient(loss)

    def inside():
        for _ in range(5):
            isolated_evaluation()

    def bare():
        for _ in range(5):
            gradient(module.training_step(batch, 0))

    compare("an isolated evaluation, 298 000 parameters, B = 256", inside, bare,
            against="the evaluation alone", at_most=1.05, rounds=41)  # fmt: skip
