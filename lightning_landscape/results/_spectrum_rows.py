"""The rows of a Hessian's record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.results.table import Row, estimate, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["spectrum_rows"]


def spectrum_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield both edges, the negative fraction and a trace, at a few times."""
    for k in spread(dataset.sizes["t"], 4):
        at = dataset.isel(t=k)
        t, everything = f"(t = {float(at['t']):.4g})", at.get("eigenvalues")
        known = {"λ_max": at.get("upper_edge_exact"), "λ_min": at.get("lower_edge_exact")}
        if everything is not None and known["λ_max"] is None:
            known = {"λ_max": everything.max("eigenvalue"), "λ_min": everything.min("eigenvalue")}
        for name, end in (("λ_max", "highest"), ("λ_min", "lowest")):
            flag = "" if at[f"{end}_converged"].isel(rank=0).all() else ", not converged"
            values, residual = (at[f"{end}{of}"].isel(rank=0) for of in ("", "_residual"))
            yield estimate(f"{name}{t}{flag}", values, residual, known[name])
        below = None if everything is None else (everything < at["zero"]).mean("eigenvalue")
        half_width = (at["negative_upper"] - at["negative_lower"]) / 2
        exact = at.get("negative_exact", below)
        yield estimate(f"negative fraction{t}", at["negative"], half_width, exact)
        if "multiplier" in at:  # on the sphere, where theory knows the second moment
            N, square = at.attrs["N"], at["trace_of_square"]
            error, exact = at["trace_of_square_error"] / N, at.get("trace_of_square_exact")
            yield estimate(f"tr H²{t}/N", square / N, error, None if exact is None else exact / N)
        else:
            total = None if everything is None else everything.sum("eigenvalue")
            yield estimate(f"tr H{t}", at["trace"], at["trace_error"], total)
