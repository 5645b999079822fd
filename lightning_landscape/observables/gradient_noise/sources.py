"""The gradients of single samples, without ever storing all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from lightning_landscape.arguments import Checked, checked
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.composed import ComposedOperator
from lightning_landscape.curvature.operators.evaluation import twice_differentiable
from lightning_landscape.curvature.operators.gauss_newton import (
    GaussNewtonOperator,
    empirical_fisher,
)
from lightning_landscape.curvature.operators.kept_graph import second_backward
from lightning_landscape.curvature.operators.parameters import FlatParameters
from lightning_landscape.curvature.operators.streaming import StreamingOperator
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.energies.networks.replicated import Replicated
from lightning_landscape.errors import require
from lightning_landscape.observables.gradient_noise.factors import Plan, factored_moments, plan_of
from lightning_landscape.observables.gradient_noise.layers import layered_moments
from lightning_landscape.observables.gradient_noise.moments import Moments

__all__ = ["GroupGradients", "SampleGradients", "gradients_of"]

_BYTES = 2**26
_GRADIENT_BYTES = 2**31
# layers, activations and their gradients, some in float64, and what autograd keeps
_BYTES_PER_VALUE = 64
# what three samples have shown of a module holds as long as the energy lives
_PLANS: WeakKeyDictionary[NetworkEnergy, Plan] = WeakKeyDictionary()


class SampleGradients(Checked, ABC):
    """The gradients g_mu of m samples, or of m groups of samples, for each of R replicas.

    Attributes:
        count: m.
        size: how many samples the mean of a group runs over; 1 for single samples.
        replicas: R.
        N: the number of parameters of a replica.
    """

    count: int
    size: int
    replicas: int
    N: int

    @abstractmethod
    def moments(self) -> Moments:
        """Return mean and variance of the g_mu, each (R, N)."""

    @abstractmethod
    def covariance(self) -> CurvatureOperator:
        """Return S = (1/(m-1)) sum_mu (g_mu - g)(g_mu - g)^T as an operator."""

    @abstractmethod
    def projections(self, V: Tensor) -> Tensor:
        """Return g_mu . v for vectors V (R, k, N), shape (R, k, m)."""


@checked
def gradients_of(
    energy: NetworkEnergy, rows: Tensor | None = None, memory: int = _BYTES
) -> SampleGradients:
    r"""Return the gradients of single samples of a network, at its present parameters.

    For fully connected layers the gradient of sample mu is delta_mu h_mu^T, so that the sum of
    its squares is one product of matrices, sum_mu delta_mu^2 (h_mu^2)^T, and the variances cost
    about two gradients in float64. For any module (`Replicated`) linear layers, convolutions in one
    and two dimensions, embeddings, layer and group norms, and attention made of them, are treated
    in this way, after three samples have confirmed it; what is left, and other architectures, is
    differentiated by ``torch.func``, as many samples at once as ``memory`` holds.

    The covariance is never formed: S v takes a derivative along v and one gradient, about 1.5
    gradients; it keeps the graph of all samples, or of portions of them where that would take
    more than 16 times ``memory``.

    Args:
        energy: a mean over independent samples (no batch normalisation).
        rows: indices of the samples; None takes all P.
        memory: bytes of the portions in which variances are gathered.

    Raises:
        UsageError: fewer than 2 samples, or the energy is not a mean over samples.

    Source of the squares: Dangel, Kunstner and Hennig, BackPACK, arXiv:1912.10985.

    >>> from lightning_landscape.data import RandomData
    >>> energy = NetworkEnergy(FullyConnected([3, 2]), RandomData(samples=8, dimension=3))
    >>> gradients_of(energy).moments().variance.shape
    torch.Size([1, 8])
    """
    is_network = isinstance(energy, NetworkEnergy)
    required = "must be a NetworkEnergy, a mean over samples"
    require(is_network, "energy", type(energy).__name__, required)
    together = energy.architecture.samples_together
    apart, remedy = "its samples see each other", "normalise over groups of channels instead"
    require(together is None, "architecture", type(energy.architecture).__name__, apart, remedy)
    rows = torch.arange(energy.samples) if rows is None else rows
    require(len(rows) >= 2, "samples", len(rows), "must be at least 2, or there is no variance")
    rows = rows.to(energy.inputs.device)
    if isinstance(energy.architecture, FullyConnected):
        return _OfLayers(energy, rows, memory)
    if isinstance(energy.architecture, Replicated):
        return _OfModule(energy, rows, memory)
    return _OfEnergy(energy, rows, memory)


class _OfEnergy(SampleGradients):
    """The gradients of the samples ``rows``, by torch.func."""

    size = 1

    def __init__(self, energy: NetworkEnergy, rows: Tensor, memory: int) -> None:
        self.energy, self.rows, self.memory = energy, rows, memory
        self.count, self.replicas, self.N = len(rows), energy.replicas, energy.N
        self.parameters = tuple(energy.architecture.parameters())
        itemsize = self.parameters[0].element_size()
        values = energy.architecture.values_per_sample(energy.inputs.shape[1:])
        self._bytes_of_graph = _BYTES_PER_VALUE // 8 * itemsize * self.replicas * values

    def moments(self) -> Moments:
        """Return mean and variance of the gradients, each (R, N)."""
        portions = (self._portion(rows) for rows in self.rows.split(self._samples_at_once()))
        return reduce(Moments.merged, portions)

    def _samples_at_once(self) -> int:
        gradient = 2 * self.replicas * self.N * self.parameters[0].element_size()  # and a copy
        return max(1, self.memory // (gradient + self._bytes_of_graph))

    def _portion(self, rows: Tensor) -> Moments:
        def of_sample(parameters: Sequence[Tensor], row: Tensor) -> Tensor:
            return self.energy.losses(parameters, row.unsqueeze(0)).sum()

        leaves = tuple(p.detach() for p in self.parameters)
        gradients = torch.func.vmap(torch.func.grad(of_sample), in_dims=(None, 0))(leaves, rows)
        parts = [Moments.of(g.flatten(2)) for g in gradients]
        mean, squares = (
            torch.cat([getattr(part, name) for part in parts], dim=1)
            for name in ("mean", "squares")
        )
        return Moments(len(rows), mean, squares)

    def covariance(self) -> CurvatureOperator:
        """Return S as an operator."""
        at_once = max(1, 16 * self.memory // self._bytes_of_graph)
        if at_once >= self.count:
            return GaussNewtonOperator(self._losses(self.rows), _half_variance, self.parameters)
        raw = StreamingOperator(
            lambda rows: empirical_fisher(self._losses(rows), self.parameters),
            self.rows.split(at_once),
        )
        return _Centred(raw, self.moments().mean, self.count)

    def _losses(self, rows: Tensor) -> Callable[[], Tensor]:
        return lambda: self.energy.losses(self.parameters, rows)

    def projections(self, V: Tensor) -> Tensor:
        """Return g_mu . v, shape (R, k, m): the derivative in u of v . sum_mu u_mu g_mu."""
        directions = FlatParameters(self.parameters, self.replicas).split(V)
        portions = self.rows.split(max(1, 4 * self.memory // self._bytes_of_graph))
        slopes = [self._along(directions, rows) for rows in portions]
        return torch.cat(slopes, dim=-1).transpose(0, 1)

    def _along(self, directions: list[Tensor], rows: Tensor) -> Tensor:
        """Return g_mu . v of the samples ``rows``, shape (k, R, n)."""
        with twice_differentiable(rows.device):
            losses = self.energy.losses(self.parameters, rows)
            u = torch.zeros_like(losses, requires_grad=True)
            pulled = torch.autograd.grad(
                losses, self.parameters, u, create_graph=True, materialize_grads=True
            )
        vectors = zip(*(v.split(1) for v in directions), strict=True)
        return torch.cat([second_backward(pulled, [u], list(v))[0] for v in vectors])


class _OfLayers(_OfEnergy):
    """The same for fully connected layers, where the variance has a closed form."""

    def _samples_at_once(self) -> int:
        return max(1, self.memory // self._bytes_of_graph)

    def _portion(self, rows: Tensor) -> Moments:
        return layered_moments(self.energy, rows)


class _OfModule(_OfEnergy):
    """The same for any module, by the factors of its layers, one replica after the other."""

    def moments(self) -> Moments:
        """Return mean and variance of the gradients, each (R, N)."""
        own = [[p[r].detach() for p in self.parameters] for r in range(self.replicas)]
        plan = _PLANS.get(self.energy)
        if plan is None:
            plan = _PLANS[self.energy] = plan_of(self._losses_of_one, own[0], self.rows)
        bytes_of_gradient = 2 * plan.held * self.parameters[0].element_size()
        each = bytes_of_gradient + self._bytes_of_graph // self.replicas
        portions = self.rows.split(max(1, self.memory // each))
        of_replicas = [
            reduce(
                Moments.merged,
                (factored_moments(self._losses_of_one, p, rows, plan) for rows in portions),
            )
            for p in own
        ]
        mean, squares = (
            torch.cat([getattr(m, name) for m in of_replicas]) for name in ("mean", "squares")
        )
        return Moments(self.count, mean, squares)

    def _losses_of_one(self, parameters: Sequence[Tensor], rows: Tensor) -> Tensor:
        x, y = self.energy._select(rows)
        net = self.energy.architecture
        assert isinstance(net, Replicated)
        return self.energy._loss.value(net.of_one(parameters, x[0]), y[0])


class GroupGradients(SampleGradients):
    """The gradients of groups of samples, each of which is an energy of its own.

    For code that returns the mean loss of a batch and not those of its samples: parts of the batch
    are the groups. A group of b samples is a mini-batch itself, so the spread of single samples
    is b times that of the groups. Like any sample variance it has m - 1 degrees of freedom.

    Cost: one gradient of each group for the moments, and for the operator, which keeps them all,
    m R N numbers; its products take no further gradient.

    Args:
        groups: the mean energy of each group, a scalar or (R,).
        parameters: what to differentiate by; where R > 1, with the replica axis first.
        size: b, how many samples a group has.

    Raises:
        UsageError: fewer than 2 groups, or their gradients would fill more than 2 GiB.
    """

    def __init__(
        self,
        groups: Sequence[Callable[[], Tensor]],
        parameters: Iterable[Tensor],
        size: int,
    ) -> None:
        require(len(groups) >= 2, "groups", len(groups), "must be at least 2, for a variance")
        self.groups, self.count, self.size = list(groups), len(groups), size
        with torch.no_grad():
            self.replicas = groups[0]().numel()
        self.at = FlatParameters(parameters, self.replicas)
        self.N = self.at.N

    def moments(self) -> Moments:
        """Return mean and variance of the groups' gradients, each (R, N)."""
        return reduce(
            Moments.merged, (Moments.of(g[None]) for g in map(self._gradient, self.groups))
        )

    def _gradient(self, group: Callable[[], Tensor]) -> Tensor:
        gradient = torch.autograd.grad(group().sum(), self.at.tensors, materialize_grads=True)
        return torch.cat([g.to_dense().reshape(self.replicas, -1) for g in gradient], dim=1)

    def covariance(self) -> CurvatureOperator:
        """Return S of the groups as an operator."""
        needed = self.count * self.replicas * self.N * self.at.dtype.itemsize
        admissible = f"gradients of {self.N} components exceed 2 GiB"
        require(needed <= _GRADIENT_BYTES, "groups", self.count, admissible, "take larger groups")
        return _Scatter(torch.stack([self._gradient(group) for group in self.groups], dim=1))

    def projections(self, V: Tensor) -> Tensor:
        """Return g . v of each group, shape (R, k, m)."""
        return torch.stack([(V @ self._gradient(g)[..., None])[..., 0] for g in self.groups], dim=2)


def _half_variance(losses: Tensor) -> Tensor:
    """Its Hessian in the losses is (1 - 11^T / m) / (m - 1), so that J^T (…) J is S."""
    return losses.var(-1) / 2


class _Scatter(CurvatureOperator):
    """(1 / (m - 1)) sum (g - mean)(g - mean)^T of m gradients in memory, (R, m, N)."""

    def __init__(self, gradients: Tensor) -> None:
        R, m, N = gradients.shape
        super().__init__(R, N, gradients.dtype, gradients.device)
        self._deviations = (gradients - gradients.mean(1, keepdim=True)).div_((m - 1) ** 0.5)

    def multiply(self, V: Tensor) -> Tensor:
        return V @ self._deviations.mT @ self._deviations


class _Centred(ComposedOperator):
    """m / (m - 1) (F - g g^T) for the second moment F of m vectors of mean g."""

    def __init__(self, F: CurvatureOperator, mean: Tensor, count: int) -> None:
        super().__init__(F)
        self._mean, self._factor = mean.to(F.dtype).unsqueeze(1), count / (count - 1)

    def multiply(self, V: Tensor) -> Tensor:
        product = torch.baddbmm(self.A.matmat(V), V @ self._mean.mT, self._mean, alpha=-1)
        return product.mul_(self._factor)
