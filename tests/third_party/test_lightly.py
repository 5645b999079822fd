"""Momentum contrast: a teacher that follows in the step, a bank of earlier keys in the loss."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(compare):
    pytest.importorskip("lightly", reason="lightly is not installed")
    import pytorch_lightning as lightning
    from lightly.loss import NTXentLoss
    from lightly.models.modules import MoCoProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    class MomentumContrast(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            body = nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU())
            self.student = nn.Sequential(body, MoCoProjectionHead(12, 12, 8))
            self.teacher = copy.deepcopy(self.student)
            deactivate_requires_grad(self.teacher)
            self.contrast = NTXentLoss(memory_bank_size=(32, 8))

        def training_step(self, batch, batch_idx):
            update_momentum(self.student, self.teacher, m=0.9)
            first, second = (batch[0] + 0.1 * torch.randn_like(batch[0]) for _ in range(2))
            with torch.no_grad():
                keys = self.teacher(second)
            return self.contrast(self.student(first), keys)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.06)

    samples = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    compare(lightning, MomentumContrast(), DataLoader(TensorDataset(samples), batch_size=8))
