"""Learning rates of the layers of a network, from one rate for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.activations import ACTIVATIONS, ActivationName
from lightning_landscape.arguments import Checked
from lightning_landscape.errors import require

__all__ = ["LayerRates"]


class LayerRates(Checked):
    r"""Make an optimizer with a learning rate for each layer, by which all layers learn alike.

    With eta the learning rate of ``optimizer``, layers l = 1, ..., L and n_{l-1} the fan-in of
    layer l, weights and biases get

    .. math:: \eta \, n^{s_l} \lambda_W^l / n_{l-1}, \qquad \eta \, n^{s_l} \lambda_b^l

    where n = n_{L-1}, s_l = s in the hidden layers and 0 in the last. With K ~ l^-p at the critical
    initialisation of the activation, lambda_W = (L/l)^(p-1) and lambda_b = l^-p L^(p-1); both are
    1/L where K stays (p = 0). Every layer then adds as much to the tangent kernel, which is of
    order 1 at any width and depth.

    s = 0 is the neural tangent parametrisation: features move by L/n. s = 1 is maximal update: they
    move by L at any width. In between they move by gamma = L / n^(1-s). `FullyConnected` needs the
    same ``width_exponent`` s, for its last weights.

    Layers are found by the shapes: the k-th parameter of shape (R, n, m, ...) is the weight of
    layer k, and where there are as many of shape (R, n), the k-th of them is its bias. The time of
    a run counts steps, because groups differ in their step size. Under `Langevin` the stationary
    law exp(-E/T) is the same as with one rate for all.

    Args:
        optimizer: makes the optimizer from parameters or groups of them: `Langevin`,
            `torch.optim.SGD` or any other with an ``lr``.
        activation: of the network, which decides p.
        width_exponent: s, from 0 to 1.

    Raises:
        UsageError: s is out of range, or the parameters are not those of layers.

    Source: Roberts, Yaida & Hanin 2021, arXiv:2106.10165, chapter 9, for s = 0; Yaida 2022,
    arXiv:2210.04909, for the family in s.

    >>> import torch
    >>> from functools import partial
    >>> layers = [torch.zeros(1, 8, 4), torch.zeros(1, 2, 8), torch.zeros(1, 8), torch.zeros(1, 2)]
    >>> made = LayerRates(partial(torch.optim.SGD, lr=1.0))(layers)
    >>> [group["lr"] for group in made.param_groups]
    [0.125, 0.0625, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Callable[[Iterable[Any]], Optimizer],
        activation: ActivationName = "relu",
        width_exponent: float = 0.0,
    ) -> None:
        require(0 <= width_exponent <= 1, "width_exponent", width_exponent, "must be from 0 to 1")
        known = activation in ACTIVATIONS
        require(known, "activation", activation, f"must be one of {', '.join(ACTIVATIONS)}")
        self.optimizer, self.width_exponent = optimizer, width_exponent
        self.decay = ACTIVATIONS[activation].decay

    def __call__(self, params: Iterable[Tensor]) -> Optimizer:
        """Return the optimizer, with a group for each parameter."""
        parameters = list(params)
        eta = self.optimizer(parameters).param_groups[0]["lr"]
        factors = self.factors([tuple(p.shape) for p in parameters])
        pairs = zip(parameters, factors, strict=True)
        return self.optimizer([{"params": [p], "lr": eta * factor} for p, factor in pairs])

    def factors(self, shapes: list[tuple[int, ...]]) -> list[float]:
        """Return the learning rate of each parameter in units of that of the optimizer."""
        weights = [shape for shape in shapes if len(shape) >= 3]
        biases = [shape for shape in shapes if len(shape) == 2]
        L = len(weights)
        fits = L > 0 and len(biases) in (0, L) and len(weights) + len(biases) == len(shapes)
        required = "must be the weights of layers, (R, n, m, …), each with a bias (R, n) or none"
        require(fits, "parameters of shapes", shapes, required)
        n, found = math.prod(weights[-1][2:]), []
        seen = {True: 0, False: 0}
        for shape in shapes:
            is_weight = len(shape) >= 3
            seen[is_weight] += 1
            l = seen[is_weight]
            share = self._share(l, L, is_weight) * (n**self.width_exponent if l < L else 1.0)
            found.append(share / math.prod(shape[2:]) if is_weight else share)
        return found

    def _share(self, l: int, L: int, is_weight: bool) -> float:
        """Return lambda_W or lambda_b of layer l."""
        p = self.decay
        if p == 0:
            return 1 / L
        return (L / l) ** (p - 1) if is_weight else l**-p * L ** (p - 1)
