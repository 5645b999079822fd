"""Tangent kernels of networks of finite width: layer by layer, or from gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.errors import require
from lightning_landscape.memory import require_memory

__all__ = ["fully_connected_tangent_kernels", "tangent_kernels"]


@torch.no_grad()
def fully_connected_tangent_kernels(
    net: FullyConnected,
    x: Tensor,
    bias_rate: float | Sequence[float] = 1.0,
    weight_rate: float | Sequence[float] = 1.0,
    parameters: Sequence[Tensor] | None = None,
) -> Tensor:
    r"""Return the tangent kernels of R fully connected networks, shape (R, k, P, k, P).

    .. math:: \Theta_{ab}(x, x') = \sum_l \Big[ \lambda_b^l + \frac{\lambda_W^l}{n_{l-1}}
              h^{l-1}(x) \cdot h^{l-1}(x') \Big] \, \delta_a^l(x) \cdot \delta_b^l(x'),
              \quad \delta_a^l = \partial z_a^L / \partial z^l

    with h^{l-1} what enters layer l, h^0 = x: the kernel of gradient descent with the learning
    rates lambda_b of biases and lambda_W / fan-in of weights. ``weight_rate=net.widths[:-1]`` with
    ``bias_rate=1`` is the plain product of gradients.

    Cost: a forward and k backward passes, and k^2 P^2 sum_l n_l per network; no gradient with
    respect to a weight is formed, and no more is kept than k P n_l numbers of a layer.

    Args:
        net: the networks.
        x: inputs, shape (P, ...).
        bias_rate: lambda_b, one number or one per layer.
        weight_rate: lambda_W, one number or one per layer.
        parameters: those of the networks, or some replicas of each; None takes those of ``net``.

    Raises:
        UsageError: a number of rates that is not the number of layers.

    >>> from lightning_landscape.energies import FullyConnected
    >>> net = FullyConnected([4, 32, 32, 1], "relu", replicas=3)
    >>> fully_connected_tangent_kernels(net, torch.ones(5, 4)).shape
    torch.Size([3, 1, 5, 1, 5])
    """
    parameters = tuple(net.parameters()) if parameters is None else parameters
    weights = parameters[: len(parameters) // 2]
    L, R, k, P = len(weights), len(weights[0]), net.widths[-1], len(x)
    lam_b, lam_W = _rates("bias_rate", bias_rate, L), _rates("weight_rate", weight_rate, L)
    z = net.preactivations(parameters, x.unsqueeze(0))
    slopes, h = [], [x.flatten(1).T.unsqueeze(0)]
    for l in range(L - 1):
        h.append(net.sigma.value_(z[l]))
        slopes.append(net.sigma.pull_(torch.ones_like(z[l]), z[l]))
    gram = _gram(h[-1], lam_b[-1], lam_W[-1])
    identity = torch.eye(k, dtype=gram.dtype, device=gram.device)
    kernel = identity[:, None, :, None] * gram[:, None, :, None, :]
    delta = identity[..., None].expand(R, k, k, P)
    for l in range(L - 2, -1, -1):
        n = len(slopes[l][0])
        flat = delta.reshape(R, -1, k * P)
        below = torch.bmm(weights[l + 1].mT, flat).view(R, n, k, P).mul_(slopes[l].unsqueeze(2))
        delta = below.add_(delta, alpha=net.skip) if net.skips(l + 1) else below
        flat = delta.view(R, n, k * P)
        products = torch.bmm(flat.mT, flat).view(R, k, P, k, P)
        kernel = kernel.addcmul_(products, _gram(h[l], lam_b[l], lam_W[l])[:, None, :, None, :])
    return kernel


@checked
def tangent_kernels(outputs: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Return Theta = J J^T with J = d outputs / d parameters, shape (R, k, P, k, P).

    It is the kernel of gradient descent with one learning rate for all parameters, of any network,
    also of one that normalises the samples together. Cost: a backward pass for each of the k P
    outputs of a replica, batched, and memory for as many gradients.

    Args:
        outputs: with their graph, shape (R, P, k).
        parameters: those on which they depend; replica axis first, or without one where R = 1.

    Raises:
        UsageError: the gradients do not fit into memory.

    >>> w = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> x = torch.tensor([[[1.0, 0.0], [1.0, 3.0]]])
    >>> tangent_kernels((x * w).sum(-1, keepdim=True), [w])[0, 0, :, 0]
    tensor([[ 1.,  1.],
            [ 1., 10.]])
    """
    R, P, k = outputs.shape
    needed = k * P * sum(p.nbytes for p in parameters)
    require_memory(needed, "inputs", P, "take fewer inputs, or fewer outputs")
    rows = torch.eye(k * P, dtype=outputs.dtype, device=outputs.device).view(k * P, 1, k, P).mT
    gradients = torch.autograd.grad(
        outputs,
        list(parameters),
        rows.expand(-1, R, -1, -1),
        is_grads_batched=True,
        materialize_grads=True,
    )
    kernel = outputs.new_zeros(R, k * P, k * P)
    for gradient in gradients:
        J = gradient.reshape(k * P, R, -1).transpose(0, 1)
        kernel.baddbmm_(J, J.mT)
    return kernel.view(R, k, P, k, P).detach()


def _gram(h: Tensor, lam_b: float, lam_W: float) -> Tensor:
    """Return lam_b + lam_W h^T h / n, shape (R or 1, P, P)."""
    return torch.bmm(h.mT, h).mul_(lam_W / h.shape[1]).add_(lam_b)


def _rates(name: str, rate: Any, L: int) -> list[float]:
    rates = [float(rate)] * L if isinstance(rate, int | float) else [float(r) for r in rate]
    finite = len(rates) == L and all(map(math.isfinite, rates))
    require(finite, name, rate, f"must be one number or one for each of the {L} layers")
    return rates
