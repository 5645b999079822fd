"""What `Diagnosis` adds to a training of 20 CPU seconds, from the first step to the table."""

import subprocess
import sys

PROGRAM = """
import sys, time
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader
from lightning_landscape import Diagnosis

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        sizes = [784, 300, 200]
        layers = [m for n, k in zip(sizes, sizes[1:]) for m in (nn.Linear(n, k), nn.ReLU())]
        self.net = nn.Sequential(*layers, nn.Linear(200, 10))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, labels = batch
        return nn.functional.cross_entropy(self(x), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)

x = torch.randn(50, 256, 784, generator=torch.Generator().manual_seed(1))
batches = [(one, one[:, :10].argmax(1)) for one in x]
callbacks = [Diagnosis()] if sys.argv[1] == "diagnosed" else []
trainer = pl.Trainer(max_steps=1500, max_epochs=-1, accelerator="cpu", logger=False,
                     callbacks=callbacks, enable_progress_bar=False, enable_checkpointing=False,
                     enable_model_summary=False, default_root_dir=sys.argv[2])
module, loader = Net(), DataLoader(batches, batch_size=None, shuffle=True)
start = time.process_time()
trainer.fit(module, loader)
print(time.process_time() - start)
"""


def cpu_seconds(kind, folder):
    command = [sys.executable, "-c", PROGRAM, kind, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def test_share_of_a_run(row, benchmark, tmp_path, monkeypatch):
    """A new process each time, so that what is loaded in the run counts as well."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    kinds = ("plain", "diagnosed")
    plain, ours = map(
        min, zip(*[[cpu_seconds(kind, tmp_path) for kind in kinds] for _ in range(3)], strict=True)
    )
    benchmark.pedantic(lambda: None, rounds=1)  # both were timed in processes of their own
    what = "Diagnosis, 1500 steps of 300 000 parameters, batches of 256"
    row(what, "the run without it", ours / plain, ours, at_most=1.05)
