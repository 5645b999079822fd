"""Averages of an activation and its derivative over the preactivations of two inputs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from lightning_landscape.activations import Activation
from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks.averages import (
    Array,
    evaluate,
    normal_nodes,
    panel_edges,
    resolve,
)

__all__ = ["PairAverages"]


class PairAverages:
    """Averages over (z_1, z_2) ~ N(0, K) of products of sigma and sigma', by quadrature.

    Panels in z_1, and for each node panels in z_2 given z_1, all split at the kinks of sigma. About
    1e-12. Cost: 2e5 nodes.

    Args:
        sigma: a name in `ACTIVATIONS`, or an `Activation`.
        K: covariance, shape (2, 2).

    Attributes:
        z: the nodes, shape (2, Q).
        values: sigma at the nodes, shape (2, Q).
        slopes: sigma' at the nodes, shape (2, Q).

    Raises:
        UsageError: K is no covariance.
    """

    def __init__(self, sigma: str | Activation, K: ArrayLike) -> None:
        sigma, K = resolve(sigma), np.asarray(K, dtype=float)
        first, along = math.sqrt(K[0, 0]), K[0, 1] / math.sqrt(K[0, 0])
        rest = K[1, 1] - along**2
        valid = K[0, 0] > 0 and rest > -1e-12 * K[1, 1]
        require(bool(valid), "K", K.tolist(), "must be a covariance with a positive diagonal")
        across = math.sqrt(max(rest, 0.0))
        kinks = np.array(sigma.kinks)
        u, outer = normal_nodes(_outer_edges(K[0, 0], along, across, kinks))
        w, inner = normal_nodes(_inner_edges(along * u, across, kinks))
        second = along * u[:, None] + across * w
        self.z = np.array([np.broadcast_to(first * u[:, None], second.shape), second])
        self.z = self.z.reshape(2, -1)
        self.values = evaluate(sigma.value, self.z)
        self.slopes = evaluate(sigma.slope, self.z)
        self._weights = (outer[:, None] * inner).ravel()

    def mean(self, f: Array) -> Array:
        """Return <f>, f given at the nodes along its last axis."""
        return f @ self._weights


def _outer_edges(K: float, along: float, across: float, kinks: Array) -> Array:
    """Return edges in u = z_1 / sqrt(K), finer where the mean of z_2 given z_1 passes a kink."""
    edges = [panel_edges(K), kinks / math.sqrt(K)]
    if abs(along) > 1e-12:
        width = max(across / abs(along), 1e-10)
        steps = width * 2.0 ** np.arange(max(0, math.ceil(-math.log2(width))))
        for centre in kinks / along:
            edges.append(centre + np.concatenate([-steps, [0.0], steps]))
    merged = np.unique(np.concatenate(edges))
    return merged[np.abs(merged) <= edges[0][-1]]


def _inner_edges(mean: Array, across: float, kinks: Array) -> Array:
    """Return edges in w = (z_2 - mean) / across for each mean, shape (U, E)."""
    reach = panel_edges(1.0)[-1]
    panels = math.ceil(reach * max(1.0, across / 2))
    regular = np.broadcast_to(
        np.linspace(-reach, reach, 2 * panels + 1), (len(mean), 2 * panels + 1)
    )
    at_kinks = np.clip((kinks - mean[:, None]) / max(across, 1e-300), -reach, reach)
    return np.sort(np.concatenate([regular, at_kinks], axis=1))
