"""The exact law of the metric of one input, at any width: a Markov chain in the layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import sici

from lightning_landscape.errors import require
from lightning_landscape.theory.wide_networks._transition import (
    RESPONDING,
    Transition,
    silent_reach,
)
from lightning_landscape.theory.wide_networks.averages import Array, GaussianAverages, evaluate
from lightning_landscape.theory.wide_networks.layer import Layer, require_depth, require_no_skip

__all__ = ["MetricLaw", "metric_law"]

_SMALLEST_WIDTH = 2
_SPREAD = 9.0  # standard deviations of log M on the grid
_WIDEST_STEP = 0.15


@dataclass(frozen=True)
class MetricLaw:
    """The law of the metric G^l of layers 1, ..., L of networks of finite width.

    The density of log M, M = G - C_b, is smooth and known at the nodes of a uniform grid; between
    them it is the band-limited interpolant, which is as accurate as the nodes.

    Attributes:
        layer: the layer.
        K1: the preactivation variance of the first layer, where G is sharp.
        log_M: the nodes, shape (N,).
        weights: probabilities of the nodes for layers 2, ..., L, shape (L - 1, N).
        atom: probability that M = 0 exactly, as in a dead ReLU network; shape (L,).
        mean: E G, shape (L,).
        variance: Var G, shape (L,).
    """

    layer: Layer
    K1: float
    log_M: Array
    weights: Array
    atom: Array
    mean: Array
    variance: Array

    @property
    def _step(self) -> float:
        return float(self.log_M[1] - self.log_M[0])

    @cached_property
    def log_mean(self) -> Array:
        """E log M of networks that are not dead, shape (L,); M = G without biases."""
        return self._log_moments[0]

    @cached_property
    def log_variance(self) -> Array:
        """Var log M of networks that are not dead, shape (L,)."""
        return self._log_moments[1]

    @cached_property
    def _log_moments(self) -> Array:
        alive = self.weights.sum(1)
        mean = self.weights @ self.log_M / alive
        variance = (self.weights * (self.log_M - mean[:, None]) ** 2).sum(1) / alive
        first = math.log(max(self.K1 - self.layer.bias_variance, 1e-300))
        return np.array([[first, *mean], [0.0, *variance]])

    @property
    def defect(self) -> float:
        """The largest |1 - total probability| of a layer: the error of the method."""
        return float(np.abs(1 - self.atom[1:] - self.weights.sum(1)).max(initial=0.0))

    def density(self, G: ArrayLike, l: int) -> Array:
        """Return the density of G in layer ``l`` >= 2, without the atom at C_b."""
        M, weights = self._at(G, l)
        inside = np.where(M > 0, M, 1.0)
        y = (np.log(inside)[..., None] - self.log_M) / self._step
        on_grid = (np.exp(self.log_M[0]) <= M) & (np.exp(self.log_M[-1]) >= M)
        return np.where(on_grid, np.sinc(y) @ weights / (self._step * inside), 0.0)

    def cdf(self, G: ArrayLike, l: int) -> Array:
        """Return the probability that the metric of layer ``l`` >= 2 is at most ``G``."""
        M, weights = self._at(G, l)
        y = (np.log(np.where(M > 0, M, 1.0))[..., None] - self.log_M) / self._step
        below = (0.5 + sici(np.pi * y)[0] / np.pi) @ weights
        return np.where(M > 0, self.atom[l - 1] + below, np.where(M < 0, 0.0, self.atom[l - 1]))

    def quantile(self, probability: float, l: int) -> float:
        """Return the G below which a network of layer ``l`` >= 2 is with this probability."""
        one = np.ndim(probability) == 0 and 0 < probability < 1
        require(one, "probability", probability, "must be one number between 0 and 1")
        C_b = self.layer.bias_variance
        if probability <= self.atom[l - 1]:
            return C_b

        def excess(x: float) -> float:
            return float(self.cdf(C_b + math.exp(x), l)) - probability

        return C_b + math.exp(brentq(excess, self.log_M[0], self.log_M[-1], xtol=1e-13))

    def _at(self, G: ArrayLike, l: int) -> tuple[Array, Array]:
        layers = len(self.atom)
        require(2 <= l <= layers, "l", l, f"must be from 2 to {layers}; the metric of 1 is sharp")
        return np.asarray(G, dtype=float) - self.layer.bias_variance, self.weights[l - 2]


def metric_law(layer: Layer, K1: float, width: int | Sequence[int], depth: int) -> MetricLaw:
    r"""Return the exact law of the metric of one input at finite width.

    Given G^l the neurons of layer l are independent, so that

    .. math:: G^{l+1} = C_b + \frac 1n \sum_{j=1}^n y_j, \quad
              y_j = C_W \sigma(\sqrt{G^l} x_j)^2, \quad x_j \sim N(0, 1)

    is a Markov chain, with the transition density that is the Fourier inverse of phi(w/n)^n, phi
    the characteristic function of y by quadrature between the kinks of sigma. On a grid uniform
    in log(G - C_b) the chain is one matrix for each width. Everything is analytic, so the
    trapezoid rule converges exponentially. No weight is drawn, and nothing expanded in 1/n.

    Valid for any activation, equal or unequal widths, and no skip connection: with one the metric
    is no Markov chain, see `sample_residual`. Mean and variance have nine digits for n >= 16, seven
    for n >= 8 and six at n = 2. For ReLU and linear layers the transition is a mixture of gamma
    densities, over the number of active neurons, and they have nine digits for n >= 3 and five at
    n = 1. Where few neurons are active the density is not smooth: for GELU and its like, and leaky
    ReLU, `density`, `cdf` and `quantile` are then good to 1e-5 only, smoothed over a node.
    Cost: 0.1 to 2 s for each distinct width, whatever the depth; the most below n = 8.

    Source: derived here; the Markov chain: Roberts, Yaida & Hanin 2021, arXiv:2106.10165,
    chapter 4.

    Args:
        layer: the layer.
        K1: preactivation variance of the first layer, C_b + C_W |x|^2 / n_0.
        width: n, or n_1, ..., n_{L-1}.
        depth: L.

    Raises:
        UsageError: a width is below 2 (1 for ReLU and linear layers), their number does not fit,
            or the layer has a skip.

    >>> law = metric_law(Layer.critical("tanh"), K1=1.0, width=32, depth=5)
    >>> law.mean[-1].round(6).item(), law.variance[-1].round(7).item()
    (0.125777, 0.0012152)
    """
    require_depth(depth)
    require_no_skip(layer, "the law of the metric")
    require(layer.bias_variance <= K1 and K1 > 0, "K1", K1, "must be > 0 and at least C_b")
    given = np.asarray(width)
    widths = (np.full(depth - 1, given) if given.ndim == 0 else given).tolist()
    least = 1 if layer.sigma.name in RESPONDING else _SMALLEST_WIDTH
    shape = f"must be {depth - 1} widths, all at least {least}"
    fits = len(widths) == depth - 1 and all(n >= least and n == int(n) for n in widths)
    require(fits, "width", width, shape)
    log_M = _grid(layer, K1, widths)
    C_b = layer.bias_variance
    states = np.concatenate([[K1, C_b], C_b + np.exp(log_M)])
    moments = _conditional_moments(layer, states)
    chains = {n: Transition(layer, states, log_M, n) for n in sorted(set(widths))}

    law = np.zeros(len(states))  # of a state: the start, M = 0, the nodes
    law[0] = 1.0
    laws, mean, variance = [law], [K1], [0.0]
    for n in widths:
        mean.append(float(law @ moments[0]))
        variance.append(float(law @ (moments[1] / n + (moments[0] - mean[-1]) ** 2)))
        law = chains[n].step(law)
        laws.append(law)
    history = np.array(laws)
    return MetricLaw(
        layer, K1, log_M, history[1:, 2:], history[:, 1], np.array(mean), np.array(variance)
    )


def _conditional_moments(layer: Layer, G: Array) -> Array:
    """Return mean and n times variance of the next metric given each G, shape (2, S)."""
    moments = []
    for K in G:
        if K > 0:
            average = GaussianAverages(layer.sigma, K)
            square, variance = average.square, average.square_variance
        else:
            square, variance = float(evaluate(layer.sigma.value, np.zeros(1))[0]) ** 2, 0.0
        mean = layer.bias_variance + layer.weight_variance * square
        moments.append((mean, layer.weight_variance**2 * variance))
    return np.array(moments).T


def _grid(layer: Layer, K1: float, widths: Sequence[int]) -> Array:
    """Return nodes of log M that hold the law of every layer.

    To lowest order log M is Gaussian; the grid reaches 9 standard deviations beyond its mean in
    every layer, above by twice the variance more, where the second moment has its weight, and
    resolves the narrowest transition by 4 nodes per standard deviation, and powers of M.
    """
    C_b, C_W, K, spread = layer.bias_variance, layer.weight_variance, K1, 0.0
    lows, highs, steps = [0.0], [0.0], [0.25]
    if widths:
        lows, highs, steps = [], [], []
    for n in widths:
        average = GaussianAverages(layer.sigma, K)
        M = C_W * average.square
        growth = (K - C_b) * C_W * average.derivative(average.value**2) / M
        fresh = C_W**2 * average.square_variance / (n * M**2)
        spread = growth**2 * spread + fresh
        reach = _SPREAD * math.sqrt(spread)
        lows.append(math.log(M) - max(reach + spread, silent_reach(layer, n)))
        highs.append(math.log(M) + reach + 2 * spread)
        steps.append(math.sqrt(fresh) / 4)
        K = C_b + M
    low, high = min(lows), max(highs)
    return np.linspace(low, high, 2 + math.ceil((high - low) / min(*steps, _WIDEST_STEP)))
