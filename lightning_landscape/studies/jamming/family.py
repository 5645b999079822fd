"""A family of networks: one depth, one kind of data, any size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lightning_landscape.activations import ActivationName
from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = ["Family", "hidden_widths", "nested_patterns", "weight_count"]


class Family:
    """Fully connected networks with ``depth`` hidden layers, on two classes of the same data.

    As in the source they start from orthogonal weights and biases 0, in float64.

    Args:
        depth: L, the number of hidden layers; 0 is a linear classifier.
        data: where the patterns are drawn from; every network sees P of the training samples of
            its own choice.
        widths: the h of each size; of a fraction, see `hidden_widths`.
        activation: as for `FullyConnected`.

    Raises:
        UsageError: depth < 0, no width, a width below 1, or data of more than two classes.

    Source: Geiger et al. 2019, arXiv:1809.09349.
    """

    def __init__(
        self,
        depth: int,
        data: LabelledData,
        widths: list[float],
        activation: ActivationName = "relu",
    ) -> None:
        require(depth >= 0, "depth", depth, "must be at least 0")
        required = "must hold at least one width, each at least 1"
        require(len(widths) > 0 and min(widths) >= 1, "widths", widths, required)
        require(data.classes == 2, "classes of the data", data.classes, "must be 2")
        self.depth, self.data, self.activation = depth, data, activation
        self.widths = list(widths)

    def layers(self, width: float) -> list[int]:
        """Return all widths, from the inputs to the single output."""
        d = self.data.inputs[0].numel()
        return [d, *hidden_widths(width, self.depth), 1]

    def size(self, width: float) -> int:
        """Return N, the number of weights without biases."""
        return weight_count(self.layers(width))

    def width_of(self, N: float) -> float:
        """Return the h between the ends of ``widths`` whose number of weights is nearest to N."""
        first, last = (round(end * self.depth) for end in (min(self.widths), max(self.widths)))
        steps = (k / self.depth for k in range(first, last + 1))
        return min(steps, key=lambda h: abs(math.log(self.size(h) / N)))

    def networks(self, width: float, replicas: int, seed: int, margin: float) -> NetworkEnergy:
        """Return the landscape of R networks with initial weights of their own."""
        architecture = FullyConnected(
            self.layers(width),
            self.activation,
            replicas,
            seed,
            initialization="orthogonal",
            dtype="float64",
        )
        return NetworkEnergy(architecture, self.data, "quadratic_hinge", margin)

    def require_patterns(self, samples: int, remedy: str) -> None:
        """Raise a `UsageError` if the data have not P patterns with balanced labels."""
        _require_patterns(self.data.targets, samples, remedy)

    def patterns(self, samples: int, replicas: int, seed: int) -> Tensor:
        """Return the patterns of R networks, shape (R, P); see `nested_patterns`."""
        return nested_patterns(self.data.targets, samples, replicas, seed)


def hidden_widths(h: float, depth: int) -> list[int]:
    """Return the widths of the hidden layers, int(h + 1 - (i + 1)/L) for i = 0 … L - 1.

    A fraction makes the first layers one wider than the last, so that N can grow in small steps.

    Source: Geiger et al. 2019, arXiv:1809.09349, in their public code.

    >>> hidden_widths(9.4, 3), hidden_widths(9, 3)
    ([10, 9, 9], [9, 9, 9])
    """
    # what is an integer but for the rounding of (i + 1)/L counts as one
    return [int(h + 1 - (i + 1) / depth + 1e-9) for i in range(depth)]


def weight_count(layers: Sequence[int]) -> int:
    """Return N, the number of weights without biases: that is how the source counts.

    It is also the number of parameters less one for each neuron, whose scale is free in a ReLU
    network.

    >>> [weight_count([d, *hidden_widths(d, L), 1]) for d, L in ((51, 3), (62, 2), (40, 5))]
    [7854, 7750, 8040]
    """
    return sum(n * m for n, m in pairwise(layers))


def nested_patterns(targets: Tensor, samples: int, replicas: int, seed: int) -> Tensor:
    """Return indices of P patterns for each of R networks, labels alternating, shape (R, P).

    Each row is the beginning of one long random order of the data: with more patterns a network
    keeps those that it had. Rows are independent draws from the data, which are finite: with P
    close to all of them the rows have most patterns in common.

    Args:
        targets: the labels 0 and 1 of the data, shape (M,).
        samples: P.
        replicas: R.
        seed: of the orders.

    Raises:
        UsageError: the smaller class has not enough patterns.

    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    >>> labels[nested_patterns(labels, samples=6, replicas=1, seed=0)].tolist()
    [[0, 1, 0, 1, 0, 1]]
    """
    most = _require_patterns(targets, samples)
    classes = [(targets == k).nonzero().squeeze(1) for k in (0, 1)]

    def order(r: int) -> Tensor:
        drawn = [
            members[Stream(seed, f"patterns of class {k}").permutation(len(members), step=r)]
            for k, members in enumerate(classes)
        ]
        return torch.stack([members[: most // 2] for members in drawn], dim=1).flatten()[:samples]

    return torch.stack([order(r) for r in range(replicas)])


def _require_patterns(targets: Tensor, samples: int, remedy: str = "") -> int:
    """Return how many patterns with balanced labels there are; raise if not enough."""
    most = 2 * min(int((targets == k).sum()) for k in (0, 1))
    required = f"must be at least 2 and at most {most}, twice the smaller class of the data"
    require(2 <= samples <= most, "P", samples, required, remedy)
    return most
