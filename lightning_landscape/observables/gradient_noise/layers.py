"""Mean and variance of per-sample gradients of fully connected layers, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.observables.gradient_noise.moments import Moments
from lightning_landscape.replicas import flatten

__all__ = ["layered_moments"]


def layered_moments(energy: NetworkEnergy, rows: Tensor) -> Moments:
    """Return the moments of the gradients of the samples ``rows``.

    With the inputs h_mu of a layer and the gradients delta_mu in its outputs, the gradient of its
    weights is delta_mu h_mu^T. So sum_mu g_mu = delta h^T and sum_mu g_mu^2 = delta^2 (h^2)^T, in
    float64, because the variance is the small difference of the two where samples agree.

    Args:
        energy: a network of class `FullyConnected`.
        rows: indices of n samples.

    Cost: a forward and a backward pass, and two products of matrices in float64 a layer; memory,
    a few float64 for each neuron and sample.
    """
    inputs, slopes = _activations(energy, rows)
    first = [_product(d, h) for d, h in zip(slopes, inputs, strict=True)]
    first += [d.sum(-1) for d in slopes]
    second = [_product(d.square(), h.square()) for d, h in zip(slopes, inputs, strict=True)]
    second += [d.square().sum(-1) for d in slopes]
    mean = flatten(first).div_(len(rows))
    squares = flatten(second)
    squares.addcmul_(mean, mean, value=-len(rows)).clamp_(min=0)
    return Moments(len(rows), mean, squares)


def _activations(energy: NetworkEnergy, rows: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return h and delta of each layer, (R or 1, in, n) and (R, out, n), in float64."""
    net = energy.architecture
    assert isinstance(net, FullyConnected)
    x, y = energy._select(rows)
    h: list[Tensor] = [x.flatten(2).transpose(1, 2)]
    z: list[Tensor] = []
    with torch.enable_grad():
        for l, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
            if l:
                h.append(net.sigma.value(z[-1]))
            out = W.detach() @ h[l] + b.detach().unsqueeze(-1)
            if l and net.skips(l):
                out = out + net.skip * z[-1]
            z.append(out if l else out.requires_grad_())
        losses = energy._loss.value(z[-1].transpose(1, 2), y)
        slopes = torch.autograd.grad(losses.sum(), z)
    return [t.detach().double() for t in h], [t.double() for t in slopes]


def _product(d: Tensor, h: Tensor) -> Tensor:
    """Return d h^T, (R, out, in), of (R, out, n) and (R or 1, in, n)."""
    if len(h) == len(d):
        return torch.bmm(d, h.mT)
    return (d.flatten(0, 1) @ h[0].T).view(len(d), -1, h.shape[1])
