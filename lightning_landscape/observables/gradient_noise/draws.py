"""Exact factors between the noise of a mini-batch and the spread of single samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require

__all__ = ["batch_factor", "batch_kurtosis", "temperature_of_sgd"]


@checked
def batch_factor(batch_size: int, samples: float, replacement: bool) -> float:
    r"""Return the factor c in Cov(g_B) = c S of the mean g_B of B out of P gradients.

    S = (1/(P-1)) sum_mu (g_mu - g)(g_mu - g)^T, so

        c = (P - 1) / (P B)    with replacement, and (P - B) / (P B) without.

    It is exact for every draw of B samples without replacement, among them each batch of a
    shuffled epoch; the batches of one epoch are anticorrelated besides.

    Args:
        batch_size: B.
        samples: P; ``math.inf`` where the data are endless.
        replacement: whether a sample may come twice.

    Raises:
        UsageError: B is not in 1 … P.

    Source: Cochran, Sampling Techniques (1977), theorem 2.2.

    >>> batch_factor(5, 20, replacement=False), batch_factor(5, math.inf, replacement=True)
    (0.15, 0.2)
    """
    fits = 1 <= batch_size <= samples
    require(fits, "batch_size", batch_size, f"must lie in 1 … {samples}, the number of samples")
    if replacement:
        return (1 - 1 / samples) / batch_size
    return (1 - batch_size / samples) / batch_size


@checked
def temperature_of_sgd(lr: float | Tensor, D: Tensor) -> Tensor:
    """Return T = lr D / 2, at which Langevin noise is as strong as that of mini-batches.

    A step of SGD adds -lr times the noise of the mini-batch gradient, of variance D per parameter,
    and one of Langevin adds noise of variance 2 lr T; the two agree for lr^2 D = 2 lr T. They have
    the same effect where the landscape is flat, or has the same curvature in all directions with D
    the same in all; elsewhere T_eff tells how far the picture of one temperature holds.

    Args:
        lr: the step size of SGD without momentum, a number or (R,).
        D: variance of the mini-batch gradient, per parameter or its mean over parameters, at the
            batch size of the run.

    Source: Mandt, Hoffman, Blei 2017, arXiv:1704.04289.

    >>> temperature_of_sgd(0.1, torch.tensor(0.02)).item()
    0.001...
    """
    return lr * D / 2


@checked
def batch_kurtosis(
    projections: Tensor, batch_size: int, samples: float, replacement: bool
) -> Tensor:
    r"""Return the excess kurtosis of the mean of B out of P numbers, 0 for a Gaussian.

    With the central moments m_2 and m_4 of the numbers it is (m_4 / m_2^2 - 3) / B with
    replacement. Without it, and with p_r the probability that r given samples are all drawn,

        P [m_4 (p_1 - 7 p_2 + 12 p_3 - 6 p_4) + 3 P m_2^2 (p_2 - 2 p_3 + p_4)]
        / [P m_2 (p_1 - p_2)]^2 - 3,

    because sums of products over distinct indices follow from the power sums (centred: the first
    vanishes). Both are exact where the numbers are all P of them. Where they are a part, m_2 and
    m_4 are estimates, and a heavy tail may be missed.

    Args:
        projections: one number per sample, for example g_mu . v, shape (…, m).
        batch_size: B.
        samples: P; ``math.inf`` where the data are endless.
        replacement: whether a sample may come twice.

    Returns:
        The excess kurtosis, shape (…), float64; nan where all numbers are equal, or B = P.

    Raises:
        UsageError: B is not in 1 … P.

    >>> batch_kurtosis(torch.tensor([-1.0, 1.0]), 4, samples=2000, replacement=True)  # coins
    tensor(-0.5000, dtype=torch.float64)
    """
    batch_factor(batch_size, samples, replacement)  # checks B
    a = projections.double()
    a = a - a.mean(-1, keepdim=True)
    m2, m4 = a.square().mean(-1), a.pow(4).mean(-1)
    if replacement or math.isinf(samples):
        return (m4 / m2.square() - 3) / batch_size
    B, P = float(batch_size), float(samples)
    p1, p2, p3, p4 = _inclusion(B, P)
    fourth = m4 * (p1 - 7 * p2 + 12 * p3 - 6 * p4) + 3 * P * m2.square() * (p2 - 2 * p3 + p4)
    second = P * m2 * (p1 - p2)
    return torch.where(second > 0, P * fourth / second.square() - 3, torch.nan)


def _inclusion(B: float, P: float) -> list[float]:
    """Return the probabilities that 1, 2, 3 and 4 given samples of P are all among B."""
    probabilities, p = [], 1.0
    for r in range(4):
        p *= (B - r) / (P - r) if P > r else 0.0
        probabilities.append(p)
    return probabilities
