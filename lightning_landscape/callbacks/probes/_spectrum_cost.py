"""What a measurement of `HessianSpectrum` costs, in gradients and in memory."""

from __future__ import annotations

from lightning_landscape.callbacks.view import View
from lightning_landscape.curvature.summary import Budget
from lightning_landscape.errors import require

__all__ = ["gradients", "require_room_for_vectors"]

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
