"""The record of `HessianSpectrum`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["spectra"]

_DIMS = {
    "eigenvalues": ("t", "replica", "eigenvalue"),
    "part_trace": ("t", "replica", "part"),
    "part_trace_error": ("t", "replica", "part"),
    "edges": ("t", "edge"),
    **dict.fromkeys(("fraction", "fraction_error", "resolution"), ("t", "replica", "bin")),
    **dict.fromkeys(("products", "zero"), ("t",)),
    **dict.fromkeys(
        [f"{end}{of}" for end in ("highest", "lowest") for of in ("", "_residual", "_converged")],
        ("t", "replica", "rank"),
    ),
    **dict.fromkeys(("highest_vector", "lowest_vector"), ("t", "replica", "rank", "coordinate")),
}


def spectra(results: Mapping[str, Tensor], parts: Sequence[str], time_step: float) -> Dataset:
    """Return the rows of `spectrum_summary` at the times of measurement, each (t, replica, …).

    Args:
        results: rows by name, time first, and ``step``, the times in steps.
        parts: names of the parameters whose traces are there; if none, their traces are left out.
        time_step: of the dynamics.
    """
    from xarray import Dataset

    values = {name: v for name, v in results.items() if parts or "part" not in name}
    t = values.pop("step").numpy() * time_step
    return Dataset(
        {name: (_DIMS.get(name, ("t", "replica")), v.numpy()) for name, v in values.items()},
        coords={
            "t": ("t", t, {"units": "step size x steps"}),
            **({"part": list(parts)} if parts else {}),
        },
        attrs={"zero": "eigenvalues of less than 1e-4 of the largest modulus"},
    )
