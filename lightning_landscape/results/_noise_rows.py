"""The rows of GradientNoise and NoiseSpectrum records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lightning_landscape.results.table import Row, estimate, row, spread

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["noise_rows", "noise_spectrum_rows"]


def noise_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield strength, matched temperature, batch size of equal signal, and kurtosis."""
    for k in spread(dataset.sizes["t"], 5):
        at = dataset.isel(t=k)
        t = f"(t = {float(at['t']):.4g})"
        yield row(f"D{t}", at["D"])
        if "matched_temperature" in at:
            yield row(f"T = lr D / 2{t}", at["matched_temperature"])
        yield row(f"batch size of equal signal{t}", at["noise_scale"])
        if "kurtosis" in at:
            yield row(f"excess kurtosis of g_B{t}", at["kurtosis"].mean("direction"))


def noise_spectrum_rows(dataset: Dataset) -> Iterator[Row]:
    """Yield the leading eigenvalue of C, what the leading ones hold, and how they lie to H."""
    k = dataset.sizes["rank"]
    for index in spread(dataset.sizes["t"], 4):
        at = dataset.isel(t=index)
        t, leading = f"(t = {float(at['t']):.4g})", at.isel(rank=0)
        flag = "" if leading["converged"].all() else ", not converged"
        yield estimate(f"λ_max of C{t}{flag}", leading["eigenvalues"], leading["residuals"])
        yield row(f"share of tr C in {k}{t}", at["eigenvalues"].sum("rank") / at["trace"])
        yield row(f"overlap of {k} with H{t}", at["overlap"].isel(rank=-1))
        yield estimate(f"cosine of C and H{t}", at["cosine"], at["cosine_error"])
