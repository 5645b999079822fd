"""Several copies of each replica in one landscape: same disorder, same data, same start."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_landscape.energies.energy import Energy, HasData
from lightning_landscape.errors import require, require_kind, require_whole
from lightning_landscape.memory import require_memory_of_replicas

__all__ = ["Copies"]


class Copies(Energy):
    """Several copies of every replica of an energy, which only the noise can drive apart.

    Copy k of replica r is row k R + r of the parameters and of the energies. It has the couplings
    or data of replica r and starts where replica r starts. Noise and mini-batches differ between
    the copies, so that their distance is what the noise does (see `callbacks.DamageSpreading`).

    Probes that know nothing of copies record the mean over the copies of a replica, so that error
    bars are over the independent replicas.

    Cost: that of R x ``copies`` replicas, evaluated copy by copy; couplings and data are held once.

    Args:
        energy: R replicas; it becomes part of this one and must not be used by itself afterwards.
        copies: how many of each, at least 2.

    Raises:
        UsageError: fewer than two copies.

    >>> from lightning_landscape.energies import SphericalPSpin
    >>> energy = Copies(SphericalPSpin(N=32, replicas=3, disorder="independent"), copies=2)
    >>> energy().shape, bool((energy()[:3] == energy()[3:]).all())
    (torch.Size([6]), True)
    """

    energy: Energy

    def __init__(self, energy: Energy, copies: int = 2) -> None:
        super().__init__()
        require_kind("energy", energy, Energy)
        require_whole("copies", copies, least=2)
        N = sum(p.numel() for p in energy.parameters())
        require_memory_of_replicas(copies, N, "copies")
        self.copies, self.replicas = copies, copies * energy.replicas
        self.constraint, self.samples = energy.constraint, energy.samples
        self.extensive = energy.extensive  # type: ignore[misc]
        self._reference = {**energy.reference(), "copies": copies}
        self._names = [name for name, _ in energy.named_parameters()]
        self.stacks = nn.ParameterList(
            p.detach().repeat(copies, *[1] * (p.dim() - 1)) for p in energy.parameters()
        )
        for module in energy.modules():  # its parameters are ours from here on
            module._parameters.update(dict.fromkeys(module._parameters))
        self.energy = energy
        if isinstance(energy, HasData):
            self.evaluate = self._evaluate  # so that these copies are `HasData` too

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (copies x R,).

        Args:
            batch: indices of samples: (B,) for all, (R, B) for the copies of each replica, or
                (copies x R, B).
        """
        energies = [
            functional_call(self.energy, dict(zip(self._names, copy, strict=True)), (own,))
            for copy, own in zip(self._chunks(), self._batches(batch), strict=True)
        ]
        return torch.cat(energies)

    def _evaluate(self, split: str = "test") -> dict[str, Tensor]:
        """Return what the energy measures on its data, each (copies x R,)."""
        method = _Evaluation(self.energy)
        names = [f"energy.{name}" for name in self._names]
        found = [
            functional_call(method, dict(zip(names, copy, strict=True)), (split,))
            for copy in self._chunks()
        ]
        return {name: torch.cat([of_copy[name] for of_copy in found]) for name in found[0]}

    def _chunks(self) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(p.chunk(self.copies) for p in self.stacks), strict=True)

    def _batches(self, batch: Tensor | None) -> list[Tensor | None]:
        if batch is None or batch.ndim == 1 or len(batch) * self.copies == self.replicas:
            return [batch] * self.copies
        require(
            len(batch) == self.replicas,
            "batch.shape",
            tuple(batch.shape),
            f"must be (B,), ({self.replicas // self.copies}, B) or ({self.replicas}, B)",
        )
        return [*batch.chunk(self.copies)]

    def only(self, replicas: Tensor) -> Energy:
        """Return some of the replicas, each with all its copies.

        Args:
            replicas: rows k R + r for some r and every copy k, in this order, int64.

        Raises:
            UsageError: a replica without one of its copies.
        """
        R, n = self.replicas // self.copies, len(replicas) // self.copies
        first = replicas[:n]
        rows = torch.cat([first + k * R for k in range(self.copies)])
        together = replicas.equal(rows)
        name, required = type(self).__name__, "the copies of a replica stay together"
        require(together, "energy", name, required)
        some = super().only(replicas)
        assert isinstance(some, Copies)
        some.energy = self.energy.only(first)
        return some

    def reference(self) -> dict[str, str | float | int]:
        """Return what the energy itself says, and the number of copies."""
        return self._reference


class _Evaluation(nn.Module):
    """`evaluate` as the ``forward`` of a module, for `functional_call`."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, split: str) -> dict[str, Tensor]:
        assert isinstance(self.energy, HasData)
        return self.energy.evaluate(split)
