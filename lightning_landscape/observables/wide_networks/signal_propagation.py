"""How signals and gradients pass the layers of fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.rng import Stream

__all__ = ["InitialSignals", "LayerSums", "Signals", "initial_signals", "signals", "summarized"]


class Signals(NamedTuple):
    """K and both susceptibilities of every layer, with errors over the samples, (R, L) each.

    Attributes:
        K: mean of z^2 over neurons and samples.
        parallel: chi_parallel, from this layer to the next: the derivative of the next K with
            respect to this one. nan in the last layer.
        perpendicular: chi_perp, from this layer to the next: the factor by which the square of a
            small random change of z grows. nan in the last layer.
        K_error: standard error of K; nan with one sample.
        parallel_error: of chi_parallel, of the ratio of means.
        perpendicular_error: of chi_perp.
    """

    K: Tensor
    parallel: Tensor
    perpendicular: Tensor
    K_error: Tensor
    parallel_error: Tensor
    perpendicular_error: Tensor


class LayerSums(NamedTuple):
    """Means over the neurons of a layer, for each replica and sample, (R, P) each.

    Attributes:
        K: of z^2.
        radial: of z dz, where the layer below was changed by dz = z.
        random: of dz^2, where the layer below was changed by a random v.
        v: of v^2, of the v by which this layer is changed.
    """

    K: Tensor
    radial: Tensor
    random: Tensor
    v: Tensor


def summarized(layers: Sequence[LayerSums]) -> Signals:
    """Return the means over samples, with their errors."""
    found = []
    for below, above in pairwise(layers):
        found.append((_ratio(above.radial, below.K), _ratio(above.random, below.v)))
    K, K_error = (
        torch.stack(t, 1) for t in zip(*(_mean(layer.K) for layer in layers), strict=True)
    )
    blank = torch.full_like(K[:, :1], torch.nan)

    def column(which: int, part: int) -> Tensor:
        return torch.cat([*(pair[which][part][:, None] for pair in found), blank], dim=1)

    return Signals(K, column(0, 0), column(1, 0), K_error, column(0, 1), column(1, 1))


@torch.no_grad()
def signals(
    net: FullyConnected,
    x: Tensor,
    seed: int = 0,
    parameters: Sequence[Tensor] | None = None,
) -> Signals:
    r"""Return how signals and gradients pass R networks, with the weights that they have.

    A change v of z^l changes z^{l+1} by J v = W (sigma'(z) v) + gamma v. With v = z^l and with
    random v,

    .. math:: \chi_\parallel = \frac{z^{l+1} \cdot J z^l / n_{l+1}}{|z^l|^2 / n_l}, \qquad
              \chi_\perp = \frac{|J v|^2 / n_{l+1}}{|v|^2 / n_l}.

    Over networks each fluctuates by O(1/sqrt n). Cost: three forward passes.

    Args:
        net: the networks.
        x: inputs, shape (P, ...).
        seed: of the random directions.
        parameters: those of the networks; None takes those of ``net``.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 5.

    >>> from lightning_landscape.energies import FullyConnected
    >>> net = FullyConnected([8, 400, 400, 400], "relu", replicas=8)
    >>> found = signals(net, torch.randn(50, 8, generator=torch.Generator().manual_seed(0)))
    >>> [round(chi, 1) for chi in found.perpendicular.mean(0).tolist()[:2]]
    [1.0, 1.0]
    """
    parameters = tuple(net.parameters()) if parameters is None else parameters
    weights = parameters[: len(parameters) // 2]
    z = net.preactivations(parameters, x.unsqueeze(0))
    stream, layers = Stream(seed, "directions of signals"), []
    radial = random = torch.zeros_like(z[0])
    for l, here in enumerate(z):
        v = stream.normal_(here.new_empty(1, *here.shape[1:], device="cpu"), l).to(here.device)
        sums = here.square(), here * radial, random.square(), v.square().expand_as(here)
        layers.append(LayerSums(*(s.mean(1).double() for s in sums)))
        if l + 1 < len(z):
            slope, W, skip = net.sigma.slope(here), weights[l + 1], net.skips(l + 1)
            radial = W @ (slope * here) + (net.skip * here if skip else 0.0)
            random = W @ (slope * v) + (net.skip * v if skip else 0.0)
    return summarized(layers)


class InitialSignals(NamedTuple):
    """The same at initialisation, averaged over the weights of the layer itself, (R, L, P) each.

    Attributes:
        metric: G^l, the mean of z^2 in layer l given the layer below.
        parallel: chi_parallel from layer l to l + 1, relative to G^l; nan in the last layer.
        perpendicular: chi_perp; nan in the last layer.
        pairs: the mean of z_i^2 z_j^2 over i != j given the layer below, minus G^2; 0 without
            skip connections.
    """

    metric: Tensor
    parallel: Tensor
    perpendicular: Tensor
    pairs: Tensor

    def vertex(self) -> Tensor:
        """Return V / n = E[z_i^2 z_j^2] - (E z^2)^2, i != j, over the networks, shape (L, P).

        Without skip connections it is the variance of G. With them z_i^2 is in part that of the
        layer below, whose own fluctuation belongs to G and not to V.
        """
        return self.metric.var(0) + self.pairs.mean(0)


@torch.no_grad()
def initial_signals(net: FullyConnected, x: Tensor) -> InitialSignals:
    r"""Return metric and susceptibilities of R networks whose weights are still the initial ones.

    Given a layer the neurons of the next one are independent, so that the average over its weights
    can be done exactly (Rao-Blackwell):

    .. math:: G^{l+1} = C_b + \frac{C_W}{n} |\sigma(z^l)|^2 + \frac{\gamma^2}{n} |z^l|^2, \quad
              \chi_\perp = \frac{C_W}{n} |\sigma'(z^l)|^2 + \gamma^2, \quad
              \chi_\parallel = \frac{C_W}{n} \sum_i \frac{z_i \sigma \sigma'}{G^l} + \gamma^2.

    `InitialSignals.vertex` over networks is V/n of the theory at leading order. From one neuron it
    would come as its fourth moment, with hundreds of times more variance.

    Args:
        net: the networks, at their initial weights, normal ones.
        x: inputs, shape (P, ...).
    """
    C_W, C_b, skip, sigma = net.weight_variance, net.bias_variance, net.skip, net.sigma
    z = net.preactivations(tuple(net.parameters()), x.unsqueeze(0))
    G = (C_b + C_W * x.flatten(1).double().square().mean(1)).expand(len(z[0]), -1)
    metric, parallel, perpendicular, pairs = [G], [], [], [torch.zeros_like(G)]
    for l, here in enumerate(z[:-1]):
        u = here.double()
        h, slope = sigma.value(u), sigma.slope(u)
        share = skip if net.skips(l + 1) else 0.0
        parallel.append(C_W * (u * h * slope).mean(1) / metric[-1] + share**2)
        perpendicular.append(C_W * slope.square().mean(1) + share**2)
        square, n = u.square(), u.shape[1]
        m2, m4 = square.mean(1), square.square().mean(1)
        metric.append(C_b + C_W * h.square().mean(1) + share**2 * m2)
        pairs.append(share**4 * (m2.square() - m4) / max(n - 1, 1))
    blank = torch.full_like(metric[0], torch.nan)
    columns = metric, [*parallel, blank], [*perpendicular, blank], pairs
    return InitialSignals(*(torch.stack(list(column), 1) for column in columns))


def _mean(a: Tensor) -> tuple[Tensor, Tensor]:
    return a.mean(1), _error(a - a.mean(1, keepdim=True))


def _ratio(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean a / mean b over samples, and its standard error."""
    ratio = a.mean(1) / b.mean(1)
    return ratio, _error(a - ratio[:, None] * b) / b.mean(1)


def _error(residues: Tensor) -> Tensor:
    P = residues.shape[1]
    if P == 1:
        return torch.full_like(residues[:, 0], torch.nan)
    return (residues.square().sum(1) / (P - 1) / P).sqrt()
