"""Foreign projects in miniature, of the kinds that a probe meets: for `ProbeContract`."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

__all__ = ["FORMS", "Tiny"]

Named = namedtuple("Named", "x y")


class Tiny(pl.LightningModule):
    """A linear classifier under SGD."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net: Any = nn.Linear(8, 2)

    def loss(self, batch: Any) -> Tensor:
        """Return the cross-entropy of a batch."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss."""
        return self.loss(batch)

    def configure_optimizers(self) -> Any:
        """Return SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.05)


class NoIndex(Tiny):
    """``training_step`` takes the batch only."""

    def training_step(self, batch: Any) -> Any:  # type: ignore[override]
        """Return the loss."""
        return self.loss(batch)


class Skips(Tiny):
    """Every other batch is skipped."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss, or None."""
        return self.loss(batch) if batch_idx % 2 else None


class Force(Tiny):
    """The loss contains a derivative with respect to the inputs."""

    def loss(self, batch: Any) -> Tensor:
        """Return the mean square of a gradient."""
        x = batch[0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(self.net(x).square().sum(), x, create_graph=True)
        return slope.square().mean()


class Lazy(Tiny):
    """Parameters get their shape at the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.LazyLinear(2)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss."""
        torch.manual_seed(3)  # whichever draws are made before
        return self.loss(batch)


class Sparse(Tiny):
    """An embedding has sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 8, sparse=True)

    def loss(self, batch: Any) -> Tensor:
        """Return a loss of a few rows of the table."""
        return self.net(self.table((batch[0].abs() * 3).long().clamp(max=8))).square().mean()


class OfNamedTuples(Tiny):
    """The batch is a named tuple."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Name the tensors."""
        return Named(*batch)

    def loss(self, batch: Any) -> Tensor:
        """Return the cross-entropy."""
        return nn.functional.cross_entropy(self.net(batch.x), batch.y)


class Labelled(Tensor):
    """A tensor whose columns have names, without which its methods break."""

    labels: list[str]

    def requires_grad_(self, mode: bool = True) -> Any:
        """Keep the names."""
        changed: Any = super().requires_grad_(mode)
        changed.labels = self.labels
        return changed

    def columns(self, *names: str) -> Tensor:
        """Return columns by name, and forget the last name."""
        found = self.as_subclass(Tensor)[:, [self.labels.index(name) for name in names]]
        self.labels.pop()
        return found


class OfLabelledTensors(Tiny):
    """The batch has tensors of a subclass with attributes, as in some solvers of equations."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Name the columns."""
        x = batch[0].as_subclass(Labelled)
        x.labels = list("abcdefghi")
        return [x, batch[1]]

    def loss(self, batch: Any) -> Tensor:
        """Return the cross-entropy."""
        return super().loss([batch[0].columns(*"hgfedcba"), batch[1]])


@dataclass
class Sample:
    """A batch as a record, with something that is no tensor."""

    x: Tensor
    y: Tensor
    weights: Tensor | None
    seen: list[int]


class OfRecords(Tiny):
    """The batch is a data class that the step writes into."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make a record."""
        x, y = batch
        return Sample(x, y, weights=None, seen=[])

    def loss(self, batch: Any) -> Tensor:
        """Return the cross-entropy."""
        batch.seen.append(1)
        batch.x = batch.x * len(batch.seen)
        return nn.functional.cross_entropy(self.net(batch.x), batch.y)


class Thaws(Tiny):
    """A hook makes what the step needs, and moves a layer from the fourth batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8).requires_grad_(False)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the factor, and thaw."""
        self.factor = 1.0 + 0.1 * batch_idx
        self.first.requires_grad_(batch_idx >= 4)

    def loss(self, batch: Any) -> Tensor:
        """Return the cross-entropy."""
        return self.factor * super().loss([self.first(batch[0]), batch[1]])


class OwnNames(Tiny):
    """The module has attributes of names that ours have, with another meaning."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.time_step, self.rates, self.batches = 0.1, [1.0, 2.0], 7
        self.dynamics = nn.Linear(8, 2)

    def energy(self, batch: Any) -> Tensor:
        """Return a prediction, which is not the loss."""
        return self.net(batch[0]).mean()

    def loss(self, batch: Any) -> Tensor:
        """Return the cross-entropy at a temperature."""
        logits = (self.net(batch[0]) + self.dynamics(batch[0])) / self.temperature
        return nn.functional.cross_entropy(logits, batch[1])


FORMS: dict[str, type[Tiny]] = {
    "no index": NoIndex,
    "None": Skips,
    "a derivative in the loss": Force,
    "lazy parameters": Lazy,
    "sparse gradients": Sparse,
    "named tuples": OfNamedTuples,
    "data classes": OfRecords,
    "tensors with attributes": OfLabelledTensors,
    "a layer that thaws": Thaws,
    "names of its own": OwnNames,
}
"""Projects of other forms, in which a probe may have to say what it cannot measure."""
