# %% [markdown]
# # Diagnosis of a project of your own
#
# Any Lightning project, one callback: `Diagnosis` says at the end of a training where it stands,
# as a table of verdicts. The project below
# is one that knows nothing of this package.

# %%
import logging
import tempfile
import warnings

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import Diagnosis
from lightning_landscape.results.diagnosis import page

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")


class Classifier(pl.LightningModule):
    def __init__(self, lr=0.1):
        super().__init__()
        self.lr = lr
        self.net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))

    def forward(self, images):
        return self.net(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return nn.functional.cross_entropy(self(images), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def train(callbacks, epochs=15):
    torch.manual_seed(1)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = DataLoader(TensorDataset(images, torch.tensor(digits.target)), 64, shuffle=True)
    module = Classifier()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tempfile.mkdtemp(),
        callbacks=callbacks,
    )
    trainer.fit(module, data)
    return module


# %%
diagnosis = Diagnosis(max_share=1.0)
with_callback = train([diagnosis])
print(page(diagnosis.verdicts, diagnosis.left_out))

# %% [markdown]
# By default the callback costs 5 % of a training; this one takes a second, so it may have as much
# again. A training prints this table by itself. Each verdict says with what it
# compares. The same for a checkpoint of anybody's module, from a terminal:
# `python -m lightning_landscape diagnose --help`.
#
# What a probe promises is exact, and can be checked: the training without the callback is the
# same, bit for bit.

# %%
without = train([])
same = [a.equal(b) for a, b in zip(with_callback.parameters(), without.parameters(), strict=True)]
print(f"parameters that are the same with and without the callback: {sum(same)} of {len(same)}")
assert all(same)
