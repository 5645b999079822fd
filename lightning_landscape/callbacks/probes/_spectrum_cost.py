"""What `HessianSpectrum` costs, and which of its times a run can afford."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.summary import Budget
from lightning_landscape.errors import require

__all__ = ["affordable", "gradients", "require_room_for_vectors", "thinned"]

# Matrices and dense solves of glasses, N = 64 to 256, take 5 to 11 gradients, shared couplings 36.
_KNOWN = 10.0

# Eigenvectors travel in every checkpoint.
_VECTOR_BYTES = 2**28


def gradients(view: View, budget: Budget, backend: str) -> float:
    """Return what a measurement costs at most, in gradients of the energy.

    Args:
        view: the run.
        budget: what may be spent.
        backend: who computes.
    """
    R, N = view.shape
    each = view.product_cost
    if backend == "pyhessian":
        return 1 + each * R * budget.by_pyhessian
    products = budget.products(N, view.knows_hessian)
    return 1 + each * products if products else _KNOWN


def affordable(probe: Probe, times: int, max_share: float, run: float, each: float) -> int:
    """Return how many measurements are within a share of a run; warn where there is none.

    Args:
        probe: who measures.
        times: how many there would be.
        max_share: cost of all of them over that of the run.
        run: how many steps the run has until the last of them.
        each: what one costs, in steps.
    """
    most = min(times, max_share * run / each)
    if most < 1 and times:
        probe.warn(
            f"nothing is measured: one measurement costs {each:.3g} steps, more than max_share = "
            f"{max_share:g} of the {run:.0f} steps of the run; raise max_share, or lower what it "
            "may cost"
        )
    return int(most)


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """Return ``most`` of the steps, spread evenly, the last one included.

    >>> thinned([0, 1, 10, 100, 1000], 3)
    [1, 10, 1000]
    """
    size = len(steps)
    return [steps[k] for k in sorted({size - 1 - round(k * size / most) for k in range(most)})]


def require_room_for_vectors(view: View, k: int, times: int) -> None:
    """Raise a `UsageError` if the eigenvectors of all measurements would exceed 256 MiB."""
    R, N = view.shape
    needed = 2 * k * R * N * times * view.parameters()[0].dtype.itemsize
    require(
        needed <= _VECTOR_BYTES,
        "eigenvectors",
        True,
        f"would take {needed / 2**20:.0f} MiB at {times} times; 256 MiB is the most",
        "lower k or per_decade, or measure a checkpoint with the verb spectrum",
    )
