"""The contract of an energy, R replicas in and R energies out, and what some energies add to it."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_landscape.arguments import Checked
from lightning_landscape.errors import require
from lightning_landscape.replicas import flatten, size, unflatten
from lightning_landscape.sphere import Sphere

__all__ = ["Energy", "HasCopies", "HasData", "HasGaps", "HasHessian", "HasSymmetry"]


class Energy(Checked, nn.Module):
    """An energy landscape with R replicas of a configuration of N degrees of freedom.

    Every parameter carries the replica axis first, so the gradient of ``energy().sum()`` holds the
    gradient of each replica with respect to its own configuration, and R = 1 is no special case.

    Attributes:
        replicas: R.
        constraint: the manifold on which the configurations live, or None for flat space.
        extensive: whether ``forward`` returns a quantity of order N (a glass) rather than a mean
            over data (a network). Reports divide an extensive energy by N; the temperature has
            the unit of what ``forward`` returns.
        samples: P, over how many samples the energy is a mean; 0 where it is none.
        twins: how many successive blocks of replicas share mini-batches and noise; 1 is none.
    """

    replicas: int
    samples: int = 0
    twins: int = 1
    constraint: Sphere | None = None
    extensive: ClassVar[bool]

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies, shape (R,), twice differentiable.

        Args:
            batch: indices of samples, shape (B,) or (R, B), for an energy that is a mean over
                data; None means the whole energy.
        """
        raise NotImplementedError

    def at(self, step: int, time_step: float) -> None:
        """Take note of the time, ``step * time_step``; called before every step.

        Only an energy that depends on time has anything to do.
        """

    @property
    def N(self) -> int:
        """The number of degrees of freedom of one replica."""
        return size(self.parameters())

    @torch.no_grad()
    def configuration(self) -> Tensor:
        """Return a copy of the configurations, shape (R, N)."""
        return flatten(self.parameters())

    def load_configuration(self, x: Tensor) -> None:
        """Set the configurations to ``x``, shape (R, N), of any precision.

        Raises:
            UsageError: the shape is another, a number is not finite, or a replica is off the
                sphere on which the energy lives.
        """
        require(isinstance(x, Tensor), "x", type(x).__name__, "must be a tensor of shape (R, N)")
        self._require_shape(x)
        number = x.is_floating_point() or x.is_complex()
        require(number, "x.dtype", x.dtype, "must be floating point", "convert it with x.double()")
        bad = (~x.isfinite()).any(1).nonzero().flatten().tolist()
        require(not bad, "x", f"inf or nan in replica {bad[0] if bad else 0}", "must be finite")
        if self.constraint is not None:
            self.constraint.check_on(x)
        self.place(x)

    @torch.no_grad()
    def place(self, x: Tensor) -> None:
        """Set the configurations to ``x``, shape (R, N), whatever its values.

        For inner loops, which should not wait for the device, and for derivatives by finite
        differences, which leave the sphere.
        """
        self._require_shape(x)
        parameters = list(self.parameters())
        for p, part in zip(parameters, unflatten(x, parameters), strict=True):
            p.copy_(part)

    def _require_shape(self, x: Tensor) -> None:
        shape = (self.replicas, self.N)
        require(tuple(x.shape) == shape, "x.shape", tuple(x.shape), f"must be {shape}")

    def value_and_gradient(self, x: Tensor, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the energies, shape (R,), and their gradients, (R, N), at ``x``.

        The replicas stay where they are, and nothing is left in ``.grad``. The gradient is that in
        flat space, on a sphere too.

        Args:
            x: configurations, shape (R, N).
            batch: indices of samples, as in ``forward``.
        """
        leaves = [part.detach().requires_grad_() for part in unflatten(x, self.parameters())]
        named = dict(zip((name for name, _ in self.named_parameters()), leaves, strict=True))
        with torch.enable_grad():
            E = torch.func.functional_call(self, named, (batch,))
            g = torch.autograd.grad(E.sum(), leaves, materialize_grads=True)
        return E.detach(), flatten(g)

    def zero_modes(self, x: Tensor) -> Tensor:
        """Return orthonormal directions that no energy of this kind resists, shape (B, K, N).

        Those of its continuous symmetries at ``x``, shape (B, N), and on a sphere that along x,
        in which a configuration cannot move. Other energies have none, K = 0.
        """
        if self.constraint is not None:
            return (x / x.norm(dim=1, keepdim=True)).unsqueeze(1)
        return x.new_zeros(len(x), 0, x.shape[1])

    def only(self, replicas: Tensor) -> Energy:
        """Return an energy of some of the replicas: their configurations copied, all else shared.

        It is that of the same function for every replica; an energy with data or couplings of
        their own for each replica overrides it.

        Args:
            replicas: their indices, shape (R',), int64.
        """
        kept: dict[int, Any] = {id(b): b for b in self.buffers()}
        kept |= {
            id(p): nn.Parameter(p.detach()[replicas], p.requires_grad) for p in self.parameters()
        }
        some = copy.deepcopy(self, kept)
        for module in some.modules():
            if isinstance(module, _HasReplicas):
                module.replicas = len(replicas)
        return some

    def reference(self) -> dict[str, Any]:
        """Return what an exact theory needs to know, as plain attributes; empty if there is none.

        They are stored with every record, so that figures and reports can draw the exact curve
        without the energy.
        """
        return {}


@runtime_checkable
class HasData(Protocol):
    """An energy that is a mean over data, some of which are held out.

    Attributes:
        samples: P, the number of training samples.
    """

    samples: int

    def evaluate(self, split: str = "test") -> dict[str, Tensor]:
        """Return what is measured on the ``train`` or the ``test`` data by name, each (R,)."""


@runtime_checkable
class HasGaps(Protocol):
    """An energy of constraints: pattern mu is satisfied where its gap Delta_mu is not positive.

    Attributes:
        margin: kappa, which the gaps contain.
    """

    margin: float

    def gaps(self) -> Tensor:
        """Return the gaps Delta, shape (R, P)."""


@runtime_checkable
class HasHessian(Protocol):
    """An energy whose matrices of second derivatives are known in closed form."""

    def hessian(self) -> Tensor:
        """Return the second derivatives in flat space, shape (R, N, N)."""


@runtime_checkable
class HasCopies(Protocol):
    """An energy whose configurations have copies, of which a path should join the nearest."""

    def nearest_copy(self, x: Tensor, to: Tensor) -> Tensor:
        """Return the copies of rows of ``x`` (B, N) that are nearest to the rows of ``to``."""


@runtime_checkable
class HasSymmetry(Protocol):
    """An energy with a finite group of symmetries, which makes copies of every configuration.

    Attributes:
        log_copies: the logarithm of the order of the group.
    """

    log_copies: float

    def symmetry_order(self, x: Tensor) -> Tensor:
        """Return the order of the subgroup that keeps each row of ``x`` (B, N), shape (B,).

        A configuration has exp(log_copies) / order copies.
        """


@runtime_checkable
class _HasReplicas(Protocol):
    replicas: int
