"""Foreign projects in miniature whose training step has side effects: for `ProbeContract`."""

from __future__ import annotations

from io import StringIO
from itertools import cycle
from typing import Any

import numpy as np
import torch
import torchmetrics
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lightning_landscape.testing.foreign import Tiny

__all__ = ["MEMORIES", "TOGETHER"]


class Counter(Tiny):
    """The loss is annealed by a Python number, and the index of the batch counts."""

    calls = 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Count the call."""
        self.calls += 1
        factor = min(1.0, self.calls / 20) * (1 + 0.1 * batch_idx)
        return super().training_step(batch, batch_idx) * factor


class Buffers(Tiny):
    """The loss has a scale that is assigned anew and one that is written into, and not saved."""

    scale: Tensor
    hidden: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("hidden", torch.ones(()), persistent=False)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Move both scales."""
        loss = super().training_step(batch, batch_idx)
        self.scale = 0.9 * self.scale + 0.1 * loss.detach()
        self.hidden.mul_(0.9).add_(0.1 * loss.detach())
        return loss / (self.scale + self.hidden)


class Teacher(Tiny):
    """Frozen parameters follow those that move, as in self-supervised learning."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Linear(8, 2).requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Move the teacher."""
        distance = (self.net(batch[0]) - self.teacher(batch[0])).square().mean()
        with torch.no_grad():
            self.teacher.weight.lerp_(self.net.weight, 0.1)
        return super().training_step(batch, batch_idx) + distance


class Queue(Tiny):
    """Earlier outputs are kept in a list and enter the loss, as a hidden state does."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Keep the mean output."""
        self.outputs.append(self.net(batch[0]).mean(0).detach())
        change = (self.net(batch[0]) - torch.stack(self.outputs)[-3:].mean()).mean()
        return super().training_step(batch, batch_idx) + change


class Measured(Tiny):
    """A metric collects every batch, and weights the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.error = torchmetrics.MeanMetric()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Update the metric."""
        loss = super().training_step(batch, batch_idx)
        self.error.update(loss.detach())
        return loss * self.error.compute()


class WritesIntoBatch(Tiny):
    """The batch is changed in place, and emptied."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Scale the inputs and take the targets out."""
        batch[0].mul_(1.1)
        targets = batch.pop()
        return super().training_step([batch[0], targets], batch_idx)


class Augmentation:
    """Shifts its inputs by more at each call."""

    def __init__(self) -> None:
        self.calls, self.shift = 0, torch.zeros(8)

    def apply(self, x: Tensor) -> Tensor:
        """Count, and shift."""
        self.calls += 1
        return x + 0.01 * self.calls * self.shift.add_(0.1)


class Carried(Tiny):
    """State that functions, classes, iterators and the optimizer carry, and not the module."""

    bank = torch.zeros(8)

    def __init__(self) -> None:
        super().__init__()
        type(self).bank = torch.zeros(8)
        factor = 1.0

        def anneal(loss: Tensor) -> Tensor:
            nonlocal factor
            factor *= 0.99
            return factor * loss

        self.augment, self.anneal = Augmentation().apply, anneal
        self.weights = cycle([1.0, 1.5, 0.5])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Advance all of it."""
        self.bank.add_(0.01)
        optimizer: Any = self.optimizers()
        optimizer.param_groups[0]["lr"] *= 0.95
        x = self.augment(batch[0]) + self.bank
        loss = super().training_step([x, batch[1]], batch_idx)
        return self.anneal(loss) * next(self.weights)


class Tampers(Tiny):
    """The step normalises weights through ``.data``, and leaves gradients of an inner attack."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Normalise, attack the inputs, and return the loss of the attacked."""
        weight = self.net.weight
        weight.data = nn.functional.normalize(weight.data, dim=1)
        x = batch[0].clone().requires_grad_()
        nn.functional.cross_entropy(self.net(x), batch[1]).backward()
        return super().training_step([(x + 0.1 * x.grad).detach(), *batch[1:]], batch_idx)


class Hooked(Tiny):
    """What a backward pass tells a hook enters the next loss."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(())
        self.net.register_full_backward_hook(self._see)

    def _see(self, module: Any, inputs: Any, outputs: Any) -> None:
        self.seen = 0.9 * self.seen + outputs[0].norm().detach()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Weight the loss by the gradients seen."""
        return super().training_step(batch, batch_idx) * (1 + self.seen)


_NOISE = np.random.default_rng(0)
_STEPS = 0


class Replay(Dataset):
    """A buffer of earlier inputs."""

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, k: int) -> Tensor:
        return self.kept[k]


class Draws(Tiny):
    """Numbers come from global variables, a quasi-random sequence, a buffer and a file."""

    def __init__(self) -> None:
        super().__init__()
        global _NOISE, _STEPS
        _NOISE, _STEPS = np.random.default_rng(0), 0
        self.points = torch.quasirandom.SobolEngine(8, scramble=True, seed=0)
        self.replay, self.lines = Replay(), StringIO()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Draw from all of them."""
        global _STEPS
        _STEPS += 1
        self.replay.kept.append(batch[0].mean(0))
        self.lines.write(".")
        drawn = _NOISE.normal() + self.points.draw().float() + self.replay[len(self.replay) // 2]
        scale = 1 + (_STEPS + self.lines.tell()) / 50
        loss = super().training_step([batch[0] + 0.1 * drawn, *batch[1:]], batch_idx)
        return scale * loss


class HoldsAnIterator(Tiny):
    """A second loader is read by the step itself: it gives each batch once."""

    def __init__(self) -> None:
        super().__init__()
        noise = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
        self.unlabelled = iter(DataLoader(TensorDataset(noise), batch_size=4))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Ask for the next batch of it."""
        (x,) = next(self.unlabelled)
        return self.loss(batch) + 0.1 * self.net(x).square().mean()


class Remembers(
    WritesIntoBatch, Carried, Counter, Buffers, Queue, Teacher, Measured, Draws, Hooked
):
    """All of these memories in one step, but the iterator."""


MEMORIES: dict[str, type[Tiny]] = {
    "a counter": Counter,
    "buffers": Buffers,
    "a momentum teacher": Teacher,
    "a queue": Queue,
    "a metric": Measured,
    "the batch is written into": WritesIntoBatch,
    "functions, classes and the optimizer": Carried,
    "hooks of backward passes": Hooked,
    "parameters are normalised": Tampers,
    "global variables, sequences and files": Draws,
    "an iterator of its own": HoldsAnIterator,
}
"""Projects whose training step has side effects."""

TOGETHER: dict[str, type[Tiny]] = {
    "all that can be put back": Remembers,
    "parameters are normalised": Tampers,
    "an iterator of its own": HoldsAnIterator,
}
"""The same side effects in as few runs as show each of them in the end of the run."""
