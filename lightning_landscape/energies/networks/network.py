"""The landscape of a network: its mean loss over a data set, as a function of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.energies.energy import Energy
from lightning_landscape.energies.networks._hessian_products import HessianProduct
from lightning_landscape.energies.networks.architectures import Architecture, FullyConnected
from lightning_landscape.energies.networks.graphs import wants_plain_graph
from lightning_landscape.energies.networks.losses import (
    LossName,
    correct,
    gaps,
    loss_named,
    target_vectors,
)
from lightning_landscape.energies.networks.slices import even_slices
from lightning_landscape.energies.networks.symmetry import log_copies, symmetry_order
from lightning_landscape.errors import require, require_kind
from lightning_landscape.replicas import per_replica

__all__ = ["NetworkEnergy"]

_PREFIXES = {"train": "", "test": "test_"}

# What the activations of a block may take: a core's share of the caches, or of a GPU.
_BLOCK_BYTES = {"cpu": 4 * 2**20}
_BLOCK_BYTES_ELSEWHERE = 2**30

Block = tuple[slice, list[tuple[Tensor, Tensor]]]
"""Some replicas, and the samples and targets they see, in portions."""


class _Selected(NamedTuple):
    """The samples and targets of a batch, and of what they were selected."""

    sources: tuple[Tensor, ...]  # kept, so that no other tensor can have their id
    versions: list[tuple[int, int]]
    samples: tuple[Tensor, Tensor]


class NetworkEnergy(Energy):
    """E(theta) = (1/P) sum_mu loss(f(x_mu; theta), y_mu), one theta a replica.

    The temperature of a dynamics has the unit of one sample's loss; a summed loss at temperature
    T_sum is this energy at T = T_sum / P.

    The data are processed in blocks of samples and replicas whose activations stay in the cache,
    each forwards and immediately backwards, so that the gradient comes with the energy: it costs
    about two more energies, also where it is not used (evaluate under ``torch.no_grad()`` then),
    and memory does not grow with the data. Derivatives of the gradient (``create_graph=True``) come
    from the graph of all samples at once, at autograd's usual cost in memory.

    Where the architecture normalises samples together, E is the mean over consecutive groups of
    ``samples_together`` of them, each with its own statistics: of the data in their order, of a
    mini-batch, and of the held-out data, which are normalised by their own statistics and not by
    running averages of training. So E is a function of theta and the batch, and nothing else.

    Args:
        architecture: R networks, with their initial weights.
        data: the training and held-out data; moved with the module, stored in no checkpoint.
        loss: ``cross_entropy``, ``quadratic_hinge`` or ``squared``; see `losses.Loss`.
        margin: kappa of the quadratic hinge and, for any loss, of the `gaps`.

    Attributes:
        samples: P.
        inputs: the training samples, shape (P, …).
        targets: their target vectors y, shape (P, k).

    Raises:
        UsageError: widths, data and loss do not go together, or the margin is negative.

    >>> from lightning_landscape.data import RandomData
    >>> from lightning_landscape.energies import FullyConnected
    >>> data = RandomData(samples=100, dimension=10)
    >>> energy = NetworkEnergy(FullyConnected([10, 30, 1], replicas=4), data, "quadratic_hinge")
    >>> energy().shape, energy.N
    (torch.Size([4]), 361)
    """

    extensive: ClassVar[bool] = False
    inputs: Tensor
    targets: Tensor

    def __init__(
        self,
        architecture: Architecture,
        data: LabelledData,
        loss: LossName = "cross_entropy",
        margin: float = 1.0,
    ) -> None:
        super().__init__()
        require_kind("architecture", architecture, Architecture)
        require_kind("data", data, LabelledData)
        self._loss, self.margin = loss_named(loss, margin), margin
        shape = data.inputs.shape[1:]
        k = architecture.output_size(shape)
        self.architecture, self.replicas = architecture, architecture.replicas
        self.samples = len(data.inputs)
        number = next(architecture.parameters()).dtype
        splits = {"": (data.inputs, data.targets), "test_": (data.test_inputs, data.test_targets)}
        for prefix, (x, labels) in splits.items():
            y = target_vectors(labels, data.classes, k, loss)
            self.register_buffer(f"{prefix}inputs", x.to(number), persistent=False)
            self.register_buffer(f"{prefix}targets", y.to(number), persistent=False)
        self._values_per_sample = architecture.values_per_sample(shape)
        self._last: _Selected | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}  # a copy selects for itself

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (R,).

        Args:
            batch: indices of training samples: (B,) for all replicas, or (R, B), for each its own;
                None means all samples.
        """
        if torch.is_grad_enabled() and wants_plain_graph():
            return self.losses(tuple(self.architecture.parameters()), batch).mean(-1)
        if torch.is_grad_enabled():
            return _Mean.apply(self, *self._select_again(batch), *self.architecture.parameters())
        return self._mean(self._loss.value, *self._select(batch))

    def losses(self, parameters: Sequence[Tensor], batch: Tensor | None = None) -> Tensor:
        """Return the loss of each sample, shape (R, B), as a function of the parameters.

        Their mean over B is ``forward``; here the graph is one of plain operations, for
        ``torch.func`` and for derivatives of single samples.

        Args:
            parameters: those of the architecture in their order.
            batch: indices of training samples, as in ``forward``.
        """
        x, y = self._select(batch)
        return self._loss.value(self.architecture.outputs(parameters, x), y)

    def mean_loss(self, outputs: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the mean losses, shape (R,), as a function of the outputs.

        Args:
            outputs: shape (R, P, k).
            targets: of their samples, shape (P, k); None takes those of the training data.
        """
        y = self.targets if targets is None else targets
        return self._loss.value(outputs, y.unsqueeze(0)).mean(-1)

    def hessian_product(self, batch: Tensor | None = None) -> HessianProduct | None:
        """Return products with the Hessian at the present weights, where they are written out.

        Args:
            batch: indices of training samples, as in ``forward``.
        """
        x, y = self._select(batch)
        parameters = tuple(self.architecture.parameters())
        return self.architecture.hessian_product(
            parameters, x, lambda f: self._loss.value(f, y).mean(-1)
        )

    @property
    def log_copies(self) -> float:
        """The logarithm of the number of copies of fully connected networks; see `symmetry`."""
        if not isinstance(self.architecture, FullyConnected):
            raise AttributeError("log_copies")  # this is no `HasSymmetry` then
        return log_copies(self.architecture)

    def symmetry_order(self, x: Tensor) -> Tensor:
        """Return the order of the subgroup that keeps each row of ``x`` (B, N), shape (B,)."""
        assert isinstance(self.architecture, FullyConnected)
        return symmetry_order(self.architecture, x)

    @torch.no_grad()
    def evaluate(self, split: str = "test") -> dict[str, Tensor]:
        """Return ``energy`` and ``accuracy``, each (R,), on the ``train`` or the ``test`` data."""

        def both(f: Tensor, y: Tensor) -> Tensor:
            return torch.stack([self._loss.value(f, y), correct(f, y).to(f.dtype)])

        energy, accuracy = self._mean(both, *self._split(split))
        return {"energy": energy, "accuracy": accuracy}

    @torch.no_grad()
    def gaps(self, split: str = "train") -> Tensor:
        """Return the gaps Delta, shape (R, P), of the ``train`` or the ``test`` data.

        A pattern is unsatisfied where its gap is positive; see `losses.gaps`. Cost: one energy.
        """
        x, y = self._split(split)
        parameters = tuple(self.architecture.parameters())
        chunks = []
        for r, portions in self._blocks(x, y):
            some = [_of_replicas(p, r) for p in parameters]
            outputs = ((self.architecture.outputs(some, u), v) for u, v in portions)
            chunks.append(torch.cat([gaps(f, v, self.margin) for f, v in outputs], dim=1))
        return torch.cat(chunks)

    def _split(self, split: str) -> tuple[Tensor, Tensor]:
        """Return samples (1, P, …) and targets (1, P, k)."""
        require(split in _PREFIXES, "split", split, f"must be one of {', '.join(_PREFIXES)}")
        prefix = _PREFIXES[split]
        x, y = self.get_buffer(f"{prefix}inputs"), self.get_buffer(f"{prefix}targets")
        return x.unsqueeze(0), y.unsqueeze(0)

    def _select(self, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return samples (R or 1, B, …) and targets (R or 1, B, k)."""
        if batch is None:
            return self.inputs.unsqueeze(0), self.targets.unsqueeze(0)
        fits = batch.ndim == 1 or (batch.ndim == 2 and len(batch) == self.replicas)
        required = f"must be (B,) or ({self.replicas}, B)"
        require(fits, "batch.shape", tuple(batch.shape), required)
        rows, shape = batch.flatten(), (-1, batch.shape[-1])
        x, y = self.inputs.index_select(0, rows), self.targets.index_select(0, rows)
        return x.unflatten(0, shape), y.unflatten(0, shape)

    def _select_again(self, batch: Tensor | None) -> tuple[Tensor, Tensor]:
        """Do as ``_select``; a descent on one batch, step after step, pays for it once."""
        if batch is None:
            return self._select(batch)
        sources = (batch, self.inputs, self.targets)
        if any(t.is_inference() for t in sources):  # they do not count their changes
            return self._select(batch)
        versions = [(id(t), t._version) for t in sources]
        if self._last is None or self._last.versions != versions:
            self._last = _Selected(sources, versions, self._select(batch))
        return self._last.samples

    def _blocks(self, x: Tensor, y: Tensor) -> Iterator[Block]:
        """Cut the data first, as far as the algebra stays fast, and then the replicas."""
        R, P = self.replicas, x.shape[1]
        bytes_ = _BLOCK_BYTES.get(x.device.type, _BLOCK_BYTES_ELSEWHERE)
        pairs = bytes_ // (x.element_size() * self._values_per_sample)  # of replica and sample
        most = max(self.architecture.block_samples, pairs // R)
        samples = even_slices(P, self.architecture.samples_together or most)
        each = samples[0].stop * self._values_per_sample * x.element_size()
        for r in even_slices(R, self.architecture.replicas_at_once(each, bytes_)):
            x_r, y_r = _of_replicas(x, r), _of_replicas(y, r)
            yield r, [(x_r[:, s], y_r[:, s]) for s in samples]

    def _mean(self, per_sample: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        """Return means over samples, shape (…, R), of a function of outputs and targets."""
        parameters, sums = tuple(self.architecture.parameters()), []
        for r, portions in self._blocks(x, y):
            some = [_of_replicas(p, r) for p in parameters]
            values = [per_sample(self.architecture.outputs(some, u), v) for u, v in portions]
            sums.append(torch.cat(values, dim=-1).sum(-1))
        return torch.cat(sums, dim=-1) / x.shape[1]

    def _sums(self, x: Tensor, y: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return the losses, shape (R,), and their gradients, summed over the samples."""
        chunks = []
        for r, portions in self._blocks(x, y):
            some = [_of_replicas(p, r) for p in parameters]
            total: list[Tensor] = []
            for u, v in portions:
                f, pull = self.architecture.pullback(some, u)
                losses, slope = self._loss.value_and_slope(f, v)
                part = [losses.sum(-1), *pull(slope)]
                total = list(torch._foreach_add(total, part)) if total else part
            chunks.append(total)
        if len(chunks) == 1:
            return chunks[0]
        return [torch.cat(parts) for parts in zip(*chunks, strict=True)]


class _Mean(torch.autograd.Function):
    """The mean loss; its gradient comes with it, and derivatives of that from autograd."""

    @staticmethod
    def forward(
        ctx: Any, energy: NetworkEnergy, x: Tensor, y: Tensor, *parameters: Tensor
    ) -> Tensor:
        losses, *ctx.gradients = energy._sums(x, y, parameters)
        ctx.energy, ctx.samples = energy, x.shape[1]
        ctx.save_for_backward(x, y, *parameters)
        return losses / ctx.samples

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # someone will differentiate the gradient
            x, y, *parameters = ctx.saved_tensors
            f = ctx.energy.architecture.outputs(parameters, x)
            mean = ctx.energy._loss.value(f, y).mean(-1)
            return None, None, None, *torch.autograd.grad(mean, parameters, g, create_graph=True)
        if g.stride() == (0,):  # of a sum over replicas: one number for all
            return None, None, None, *torch._foreach_mul(ctx.gradients, g[0] / ctx.samples)
        scale = g / ctx.samples
        scales = [per_replica(scale, p) for p in ctx.gradients]
        return None, None, None, *torch._foreach_mul(ctx.gradients, scales)


def _of_replicas(t: Tensor, r: slice) -> Tensor:
    """Return those replicas of t; one with a single entry is common to all."""
    return t if t.shape[0] <= r.stop - r.start else t[r]
