"""What a run prints when it has ended: its table, and where everything is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_landscape import records
from lightning_landscape.results import _aging_rows as aging
from lightning_landscape.results import _ladder_rows as ladder
from lightning_landscape.results._fluctuation_rows import fluctuation_rows
from lightning_landscape.results._gap_rows import gap_rows, jamming_rows
from lightning_landscape.results._jamming_rows import scan_rows, transition_rows
from lightning_landscape.results._noise_rows import noise_rows, noise_spectrum_rows
from lightning_landscape.results._response_rows import damage_rows, response_rows
from lightning_landscape.results._sampling_rows import equilibration_rows, learning_rows
from lightning_landscape.results._spectrum_rows import spectrum_rows
from lightning_landscape.results._stationarity_rows import stationarity_rows
from lightning_landscape.results.table import Row, markdown

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["rows", "summarize"]

_EXACT = (
    "exact: theory for N = ∞ and continuous time. A deviation of many sigmas is the finite size or "
    "the finite\nstep of the run, seen beyond its error bar: raise N or lower lr, and it shrinks."
)


def rows(dataset: Dataset) -> Iterator[Row]:
    """Return the rows of a record: a few times, spread evenly over the logarithm of t."""
    known = {
        "EnergyRelaxation": aging.relaxation_rows,
        "AgingCorrelation": aging.aging_rows,
        "GapDistribution": gap_rows,
        "GradientNoise": noise_rows,
        "HessianSpectrum": spectrum_rows,
        "JammingScan": scan_rows,
        "JammingTransition": transition_rows,
        "JammingHessian": jamming_rows,
        "LinearResponse": response_rows,
        "NoiseSpectrum": noise_spectrum_rows,
        "Stationarity": stationarity_rows,
        "FieldResponse": response_rows,
        "DamageSpreading": damage_rows,
        "TemperatureFluctuations": fluctuation_rows,
        "Equilibration": equilibration_rows,
        "LearningCoefficient": learning_rows,
    }
    if np.ptp(dataset.attrs.get("temperature", 0)) > 0:
        known |= {
            "EnergyRelaxation": ladder.energy_rows,
            "AgingCorrelation": ladder.relaxation_rows,
        }
    of_probe = known.get(dataset.attrs.get("probe", ""))
    return of_probe(dataset) if of_probe else iter(())


def summarize(run: Path) -> str:
    """Draw the figures of a run and return its table, with where everything is.

    Args:
        run: the folder of the run, with its records in ``probes/``.
    """
    from lightning_landscape.results.figures import draw

    table: list[Row] = []
    notes: list[str] = []
    for path in sorted((run / "probes").glob("*.nc"), reverse=True):
        dataset = records.read(path)
        table += rows(dataset)
        if "theory_reference" in dataset.attrs:
            notes = [_EXACT, ""]
        if (figure := draw(dataset)) is not None:
            target = run / "figures" / f"{path.stem}.png"
            records.write_atomically(target, partial(figure.savefig, format="png", dpi=150))
    events = next(run.glob("events.out.tfevents.*"), None) is not None
    where = [
        f"records      {run / 'probes'}",
        f"figures      {run / 'figures'}",
        *([f"TensorBoard  tensorboard --logdir {run.parent}"] if events else []),
        f"compare      python -m lightning_landscape report {run}",
    ]
    return "\n".join([*([markdown(table), "", *notes] if table else []), *where])
