"""A Lightning project independent of this package, with one of its probes as a callback.

    python examples/probe_your_project.py

The record, opened in xarray, holds the mean squared displacement of the weights, (tw, t, replica).
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import AgingCorrelation


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = nn.functional.cross_entropy(self.net(images), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main(max_epochs=20, logs="logs"):
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = DataLoader(TensorDataset(images, torch.tensor(digits.target)), 64, shuffle=True)
    trainer = pl.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=pl.loggers.TensorBoardLogger(logs, name="your_project"),
        callbacks=[AgingCorrelation(waiting_times=[1, 10, 100], first=1, last=300)],
    )
    trainer.fit(Classifier(), data)
    return f"{trainer.log_dir}/probes/aging_correlation.nc"


if __name__ == "__main__":
    import xarray

    record = xarray.load_dataset(main())
    print(record["MSD"].mean("replica").to_pandas())
