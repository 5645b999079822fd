"""What a report on three runs costs once everything is imported."""

import io

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from lightning_landscape import records
from lightning_landscape.cli import report
from lightning_landscape.cli.report.runs import read
from lightning_landscape.results.quantities.aging import collapse
from lightning_landscape.results.summary import summarize

SYSTEM = {"temperature": 0.3, "time_step": 0.02, "N": 64, "replicas": 16}


def write_run(folder, seed):
    """Energies and two-time functions of 16 replicas, as large as those of configs/pspin/aging."""
    rng, t, tw = np.random.default_rng(seed), np.geomspace(0.1, 40, 23), np.array([0.5, 2.0, 8.0])
    wobble = 1 + 0.02 * rng.normal(size=(3, 23, 16))
    MSD = np.log1p(t / tw[:, None] ** 0.6)[..., None] * wobble
    values = {"C": (("tw", "t", "replica"), 1 - MSD / 2), "MSD": (("tw", "t", "replica"), MSD)}
    two_times = xarray.Dataset(values, coords={"tw": tw, "t": t})
    two_times.attrs = {"probe": "AgingCorrelation"} | SYSTEM
    E = -1 + t[:, None] ** -0.5 * wobble[0]
    energy = xarray.Dataset({"energy": (("t", "replica"), E)}, coords={"t": t})
    energy.attrs = {"probe": "EnergyRelaxation"} | SYSTEM
    records.write(two_times, folder / "probes" / "aging_correlation.nc")
    records.write(energy, folder / "probes" / "energy_relaxation.nc")
    summarize(folder)  # which draws the figures, as the end of a run does
    return folder


def twelve_panels():
    """As many panels as the comparison of the runs, with nothing in them."""
    figure = Figure(figsize=(15, 15), layout="constrained")
    for axes in figure.subplots(4, 3).flat:
        axes.errorbar([1, 10, 100], [1, 10, 100], fmt="o", label="three points")
        axes.set(xscale="log", yscale="log")
        axes.legend()
    figure.savefig(io.BytesIO(), format="png", dpi=130)


@pytest.mark.filterwarnings("ignore")
def test_report_on_three_runs(compare, tmp_path):
    runs = [write_run(tmp_path / name, seed) for seed, name in enumerate("abc")]

    def ours():
        collapse._fit_once.cache_clear()
        report.page(read(runs))

    compare(
        "report on three runs",
        ours,
        twelve_panels,
        against="12 panels of three points in Matplotlib's layout",
        at_most=1.5,
        rounds=3,
    )
