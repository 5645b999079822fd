"""A network of which each rank holds a part, for one that does not fit on a device."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape import parallel
from lightning_landscape.dynamics.dynamics import Dynamics
from lightning_landscape.dynamics.samplers.thermal import Thermal
from lightning_landscape.energies.energy import Energy
from lightning_landscape.errors import require
from lightning_landscape.memory import require_memory
from lightning_landscape.modules.data_part import DataPart, can_share_data

__all__ = ["Shards"]


class Shards:
    """The parameters of one network cut among the ranks, with gradient and optimizer state: FSDP2.

    A step gathers the parameters, computes the energy of this rank's part of the samples, and
    leaves to each rank the mean gradient of what it holds. Langevin noise is a function of the
    index in the whole network, so the run is that of one process but for the order of sums.

    A weight is cut along its outputs where the number of ranks divides them; other parameters,
    such as the few numbers of the last layer, belong to rank zero.

    What measures the energy sees the whole network, gathered on every rank while it measures.

    Cost: a step moves 3 N numbers between the ranks. A rank holds N / ranks parameters and as much
    of all that belongs to them, and N parameters and N gradients during a step.

    Args:
        energy: of one replica, with data, without constraint; changed in place.
        dynamics: its dynamics as it was before.
        make: the factory that has made it.
        mesh: the devices, along one dimension.

    Attributes:
        dynamics: that of the parts.
        whole: an energy of the same kind; it has parameters inside `gathered` only.
        part: the samples that this rank evaluates; None where samples see each other, so that
            every rank needs all of them.

    Raises:
        UsageError: several replicas, an energy on a sphere or without data, or a dynamics that
            needs whole parameters.
    """

    def __init__(
        self,
        energy: Energy,
        dynamics: Optimizer,
        make: Callable[[Iterable[Tensor]], Optimizer],
        mesh: Any,
    ) -> None:
        _check(energy, dynamics)
        kept: dict[int, Any] = {id(b): b for b in energy.buffers()}
        kept |= {id(p): _placeholder(p) for p in energy.parameters()}
        self.whole = copy.deepcopy(energy, kept)
        ranks = mesh.size()

        def axis(p: nn.Parameter) -> int:
            return 1 if p.dim() > 1 and p.shape[1] % ranks == 0 else 0

        parallel.cut(energy, mesh, axis)
        self._energy, self._is_gathered = energy, False
        self.dynamics = make(energy.parameters())
        shared = can_share_data(energy, parallel.count())
        self.part = DataPart(energy, parallel.rank(), parallel.count()) if shared else None

    @contextmanager
    def gathered(self) -> Iterator[Energy]:
        """Let every rank have the whole network in the body, in an energy of its own.

        Raises:
            UsageError: the network, its gradient and a vector for products with the Hessian do not
                fit into memory.
        """
        if self._is_gathered:  # by who called
            yield self.whole
            return
        parameters = list(self._energy.parameters())
        needed = 3.0 * sum(p.numel() * p.element_size() for p in parameters)
        measured = "what measures the energy of a network in parts gathers it, which"
        remedy = "measure without the energy, as AgingCorrelation does"
        device = parameters[0].device
        require_memory(needed, "callbacks", measured, remedy, device)
        pairs = list(zip(self.whole.modules(), self._energy.modules(), strict=True))
        try:
            for there, here in pairs:
                there._buffers.update(here._buffers)  # they may have moved to a device
                for name, p in here._parameters.items():
                    if p is not None:
                        there._parameters[name] = nn.Parameter(parallel.whole(p), p.requires_grad)
            self._is_gathered = True
            yield self.whole
        finally:
            self._is_gathered = False
            for there, _ in pairs:
                for name, p in there._parameters.items():
                    if p is not None:
                        there._parameters[name] = _placeholder(p)


def _placeholder(p: nn.Parameter) -> nn.Parameter:
    """Return a parameter of the same shape that holds no numbers."""
    return nn.Parameter(p.detach().to("meta"), p.requires_grad)


def _check(energy: Energy, dynamics: Optimizer) -> None:
    """Refuse what cannot be cut."""
    strategy, name = "trainer.strategy", type(energy).__name__
    one = energy.replicas == 1 and energy.twins == 1
    remedy = "use replicas: 1, or trainer.strategy replicas"
    require(one, strategy, "sharded", f"has {energy.replicas} replicas to cut", remedy)
    flat = energy.constraint is None and energy.samples > 0
    remedy = "use trainer.strategy replicas or couplings"
    require(flat, strategy, "sharded", f"{name} is no mean over data in flat space", remedy)
    plain = not isinstance(dynamics, Dynamics) or isinstance(dynamics, Thermal)
    remedy = "take Langevin, torch.optim.SGD or torch.optim.Adam"
    required = f"{type(dynamics).__name__} needs whole parameters"
    require(plain, strategy, "sharded", required, remedy)
