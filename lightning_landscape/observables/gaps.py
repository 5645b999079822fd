"""Gaps of patterns: which are satisfied, by how much the others are not, and which have changed.

A gap Delta is positive where a pattern is unsatisfied; how it follows from outputs and labels is
stated in `losses.gaps`. Everything here takes gaps of shape (R, P).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.energies.networks import losses
from lightning_landscape.errors import require
from lightning_landscape.observables.exponents import PowerLaw, fit_power_law

__all__ = [
    "GAMMA_WINDOW",
    "JAMMED_ABOVE",
    "SATISFIED_BELOW",
    "THETA_WINDOW",
    "avalanches",
    "classification_gaps",
    "hinge_loss",
    "log_counts",
    "satisfied",
    "size_density",
    "transition_exponents",
    "unsatisfied",
]

SATISFIED_BELOW = 1e-10
"""The loss below which all patterns count as satisfied."""

JAMMED_ABOVE = 0.1
"""The N_Delta/N above which a network is jammed, as in the source: single patterns may be lost."""

THETA_WINDOW, GAMMA_WINDOW = (0.003, 0.3), (0.01, 0.3)
"""Where the laws are fitted: of Delta / sqrt(L), whose mean is near 3, and of |Delta|, near 1."""


@checked
def classification_gaps(outputs: Tensor, labels: Tensor, margin: float = 1.0) -> Tensor:
    """Return the gaps of any classifier, shape (R, P), or (P,) for outputs without replica axis.

    Args:
        outputs: shape (P, k) or (R, P, k); k = 1 for two classes that share an output, whose sign
            is the class.
        labels: class labels 0, 1, …, shape (P,).
        margin: kappa; with 0, exactly the misclassified patterns are unsatisfied.

    Raises:
        UsageError: the shapes of outputs and labels do not match.

    >>> outputs, labels = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([0, 1])
    >>> classification_gaps(outputs, labels)
    tensor([-2.0000,  1.5000])
    """
    right = outputs.dim() in (2, 3) and outputs.shape[-2] == len(labels)
    required = f"must be (P, k) or (R, P, k) with P = {len(labels)} labels"
    require(right, "outputs.shape", tuple(outputs.shape), required)
    are_classes = not labels.is_floating_point() and bool((labels >= 0).all())
    require(are_classes, "labels", labels.dtype, "must be whole numbers of at least 0")
    k = outputs.shape[-1]
    y = losses.target_vectors(labels.long(), max(2, k), k, "squared").to(outputs.dtype)
    gaps = losses.gaps(outputs.reshape(-1, *outputs.shape[-2:]), y[None], margin)
    return gaps.reshape(outputs.shape[:-1])


def unsatisfied(gaps: Tensor) -> Tensor:
    """Return N_Delta, the number of positive gaps, shape (R,).

    Where a network fits its data the gaps approach 0 from above, so N_Delta > 0 even at a loss of
    1e-31: whether it fits is decided by the loss, see `satisfied`.
    """
    return (gaps > 0).sum(1)


def hinge_loss(gaps: Tensor) -> Tensor:
    """Return L = (1/P) sum max(0, Delta)^2 / 2 in float64, shape (R,)."""
    return gaps.double().relu().square().mean(1) / 2


def satisfied(gaps: Tensor) -> Tensor:
    """Return where L < 1e-10, shape (R,), bool: the network fits its data with the margin."""
    return hinge_loss(gaps) < SATISFIED_BELOW


def avalanches(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many patterns became unsatisfied and how many satisfied, each of shape (R,).

    Their sum is the size of the avalanche between two times, or between the minima before and
    after a small change of the data.

    Args:
        before: gaps, shape (R, P).
        after: the gaps of the same patterns.

    >>> before, after = torch.tensor([[0.1, -0.2, 0.3]]), torch.tensor([[-0.1, 0.2, -0.3]])
    >>> avalanches(before, after)
    (tensor([1]), tensor([2]))
    """
    require(before.shape == after.shape, "after.shape", tuple(after.shape), f"is {before.shape}")
    was, is_now = before > 0, after > 0
    return (is_now & ~was).sum(1), (was & ~is_now).sum(1)


def size_density(sizes: Tensor, per_decade: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distribution of the sizes of avalanches in logarithmic bins of whole numbers.

    Each bin contains at least one whole number, and its density is per whole number, so that a law
    size^-tau is a straight line from size 1 on. Sizes of 0 are left out.

    Args:
        sizes: whole numbers, any shape.
        per_decade: bins per factor of ten, where there are that many whole numbers.

    Returns:
        The centres (geometric means of the whole numbers at both ends), the densities and their
        Poisson errors, each (bins,), float64.

    >>> centres, density, _ = size_density(torch.tensor([1, 1, 2, 4]))
    >>> centres[:2].tolist(), density[:2].tolist()
    ([1.0, 2.0], [0.5, 0.25])
    """
    sizes = sizes.flatten()[sizes.flatten() > 0].double()
    most = float(sizes.max()) if len(sizes) else 1.0
    decades = torch.arange(0, per_decade * (1 + math.log10(most)) + 1, dtype=torch.float64)
    first = (10 ** (decades / per_decade)).round().unique()  # of each bin
    first = first[: int((first <= most).sum()) + 1]
    counts = log_counts(sizes[None], first - 0.5)[0].double()
    numbers = first.diff()
    total = max(len(sizes), 1) * numbers
    centres = (first[:-1] * (first[1:] - 1)).sqrt()
    return centres, counts / total, counts.sqrt() / total


def transition_exponents(
    gaps: Tensor,
    loss: Tensor,
    theta_window: tuple[float, float] = THETA_WINDOW,
    gamma_window: tuple[float, float] = GAMMA_WINDOW,
) -> tuple[PowerLaw, PowerLaw]:
    r"""Fit the laws of the gaps of minima at the jamming transition, on both sides.

        P(Delta) ~ (Delta / sqrt L)^theta,   P(-Delta) ~ |Delta|^-gamma

    The first law has the exponent theta, the second -gamma. The positive gaps are forces in the
    packing of spheres, of a scale that vanishes at the transition: sqrt(L) takes it out, so that
    replicas with different losses can be pooled.

    Args:
        gaps: shape (R, P), nan for what does not count.
        loss: L of each replica, shape (R,); where it is below 1e-10 the network fits, its gaps lie
            at 0 up to rounding, and they belong to no power law: they are left out.
        theta_window: of Delta / sqrt(L).
        gamma_window: of |Delta|.

    Source: Geiger et al. 2019, PRE 100, 012115, arXiv:1809.09349.
    """
    jammed = gaps.where((loss >= SATISFIED_BELOW)[:, None], torch.nan)
    rescaled = jammed / loss.sqrt()[:, None]
    return fit_power_law(rescaled, *theta_window), fit_power_law(-jammed, *gamma_window)


def log_counts(values: Tensor, edges: Tensor) -> Tensor:
    """Return how many values lie in each bin, shape (R, bins), int64.

    Args:
        values: shape (R, P); values outside the edges, and nan, do not count.
        edges: ascending, shape (bins + 1,); a bin contains its lower edge.
    """
    bins, x = len(edges) - 1, values.nan_to_num(nan=-torch.inf).to(edges.dtype)
    k = torch.bucketize(x.contiguous(), edges, right=True)  # 0 below all of them, bins + 1 above
    counts = k.new_zeros(len(values), bins + 2)
    return counts.scatter_add_(1, k, torch.ones_like(k))[:, 1:-1]
