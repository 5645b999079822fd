"""Copies of a network by exchange, change of sign and change of scale of its hidden units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lightning_landscape.energies.networks.architectures import FullyConnected

__all__ = ["canonical_form", "log_copies", "symmetry_order"]

_ODD = ("tanh", "erf", "linear", "sin", "softsign")
_HOMOGENEOUS = ("relu", "leaky_relu")
_ZERO = 1e-6  # of the largest weight of a unit


def log_copies(network: FullyConnected) -> float:
    """Return ln prod_l h_l! 2^h_l over hidden layers of h_l units; without 2^h if sigma is not odd.

    The order of the group that exchanges the hidden units of a layer and, for odd activations,
    flips the signs of all that enters and leaves a unit. No loss sees any of it.

    >>> round(math.exp(log_copies(FullyConnected([2, 3, 1], "tanh"))))
    48
    """
    flips = math.log(2) if network.sigma.name in _ODD else 0.0
    return sum(math.lgamma(h + 1) + h * flips for h in network.widths[1:-1])


def canonical_form(network: FullyConnected, x: Tensor) -> Tensor:
    """Return one of the copies of each row, the same for all of them, shape (B, N).

    Layer after layer, what enters a unit of ReLU or leaky ReLU is scaled to length 1, bias
    included, and what leaves it the other way; units of odd activations get a positive bias, or
    first weight that is not 0; and units are sorted by bias and weights. Copies agree to rounding
    unless two units tie in all that enters them but not in what leaves them.

    Args:
        network: whose parameters the rows are, in their order.
        x: shape (B, N).

    >>> network = FullyConnected([1, 2, 1], "tanh", dtype="float64")
    >>> x = torch.tensor([[1.0, 2, 3, 4, 5, 6, 7], [-2.0, 1, -4, 3, -6, 5, 7]])
    >>> same = canonical_form(network, x)
    >>> bool((same[0] == same[1]).all())
    True
    """
    rows = [_canonical(network, _layers(network, row)) for row in x]
    return torch.stack([_flat(layers) for layers in rows]) if rows else x.clone()


def symmetry_order(network: FullyConnected, x: Tensor, tolerance: float = 1e-4) -> Tensor:
    """Return the order of the subgroup of `log_copies` that keeps each row, shape (B,), int64.

    m equal units, up to their sign, contribute m!, and m units without any weights 2^m m!. Those
    that exchange units of several layers at once are not looked for.

    Args:
        network: whose parameters the rows are, in their order.
        x: shape (B, N).
        tolerance: of weights, relative to the largest of the row or 1.
    """
    return torch.tensor([_order(network, row, tolerance) for row in x], dtype=torch.int64)


def _layers(network: FullyConnected, row: Tensor) -> list[Tensor]:
    """Return [bias, weights] of every layer, each (h, 1 + inputs)."""
    shapes = [(n, m) for m, n in pairwise(network.widths)]
    parts = row.split([n * m for n, m in shapes] + [n for n, _ in shapes])
    weights, biases = parts[: len(shapes)], parts[len(shapes) :]
    pairs = zip(shapes, weights, biases, strict=True)
    return [torch.cat([b.unsqueeze(1), W.view(n, m)], dim=1) for (n, m), W, b in pairs]


def _flat(layers: Sequence[Tensor]) -> Tensor:
    """Undo `_layers`."""
    weights, biases = (
        [layer[:, 1:].flatten() for layer in layers],
        [layer[:, 0] for layer in layers],
    )
    return torch.cat(weights + biases)


def _canonical(network: FullyConnected, layers: list[Tensor]) -> list[Tensor]:
    for l in range(len(layers) - 1):
        into, out = layers[l], layers[l + 1].clone()
        if network.sigma.name in _HOMOGENEOUS:
            length = into.norm(dim=1)
            length = torch.where(length > 0, length, 1.0)
            into, out[:, 1:] = into / length.unsqueeze(1), out[:, 1:] * length
        elif network.sigma.name in _ODD:
            signs = torch.stack([_sign(torch.cat([u, out[:, 1 + k]])) for k, u in enumerate(into)])
            into, out[:, 1:] = into * signs.unsqueeze(1), out[:, 1:] * signs
        rows = into.tolist()
        order = sorted(range(len(rows)), key=rows.__getitem__)
        out[:, 1:] = out[:, 1:][:, order]
        layers[l], layers[l + 1] = into[order], out
    return layers


def _sign(unit: Tensor) -> Tensor:
    """Return the sign of the first number that is not 0 to rounding; 1 without any."""
    largest = unit.abs().max()
    nonzero = (unit.abs() > _ZERO * largest).nonzero()
    return unit[nonzero[0, 0]].sign() if len(nonzero) else unit.new_ones(())


def _order(network: FullyConnected, row: Tensor, tolerance: float) -> int:
    layers = _canonical(network, _layers(network, row))
    near = tolerance * max(1.0, float(row.abs().max()))
    order = 1
    for into, out in pairwise(layers):
        units = torch.cat([into, out[:, 1:].T], dim=1)
        left = list(range(len(units)))
        while left:
            same = [k for k in left if (units[k] - units[left[0]]).abs().max() <= near]
            left = [k for k in left if k not in same]
            order *= math.factorial(len(same))
            if network.sigma.name in _ODD and units[same[0]].abs().max() <= near:
                order *= 2 ** len(same)
    return order
