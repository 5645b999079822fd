import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.cli import report
from lightning_landscape.results import comparison
from lightning_landscape.results.summary import rows


def relaxation(level, **attributes):
    t = np.array([1.0, 10.0, 100.0])
    energy = level + np.array([[0.0, 0.1]]) - np.log(t)[:, None]
    return xarray.Dataset(
        {"energy": (("t", "replica"), energy)},
        coords={"t": t},
        attrs={"probe": "EnergyRelaxation", "temperature": 0.0, "N": 5, "replicas": 2} | attributes,
    )


def diffusion(strength, T=0.0):
    """Free diffusion: Delta = lr^2 D steps, with lr = 0.1."""
    t = np.array([1.0, 10.0, 100.0])
    MSD = 0.1**2 * strength * (t / 0.1)
    two_times = np.broadcast_to(MSD[None, :, None], (2, 3, 2))
    system = {"temperature": T, "time_step": 0.1, "N": 5, "replicas": 2}
    return xarray.Dataset(
        {"C": (("tw", "t", "replica"), two_times), "MSD": (("tw", "t", "replica"), two_times)},
        coords={"t": t, "tw": [1.0, 10.0]},
        attrs={"probe": "AgingCorrelation"} | system,
    )


def noise(D):
    return xarray.Dataset(
        {"D": (("t", "replica"), np.full((3, 2), D))},
        coords={"t": [0.0, 1.0, 10.0]},
        attrs={"probe": "GradientNoise"},
    )


@pytest.mark.parametrize(
    "run",
    [
        {"AgingCorrelation": diffusion(3.0), "GradientNoise": noise(3.0)},
        {"AgingCorrelation": diffusion(2 * 0.06 / 0.1, T=0.06)},  # Langevin: D = 2 T / lr
    ],
    ids=["SGD", "Langevin"],
)
def test_free_diffusion_lies_on_the_diagonal_in_units_of_its_noise(run):
    figure = comparison.draw({"a": run})
    (axes,) = [axes for axes in figure.axes if "free diffusion" in axes.get_xlabel()]
    curves = [container.lines[0].get_xydata() for container in axes.containers]
    assert len(curves) == 2
    for points in curves:
        assert points[:, 0] == pytest.approx([10, 100, 1000])
        assert points[:, 1] == pytest.approx(points[:, 0])


def test_rows_that_no_run_can_fill_are_left_out_and_gaps_stay_empty():
    runs = [{"EnergyRelaxation": relaxation(0.0)}, {"AgingCorrelation": diffusion(1.0)}]
    figure = comparison.draw(dict(zip("ab", runs, strict=True)))
    assert [text.get_text().split("\n")[0] for text in figure.texts] == ["a", "b"]
    energy, displacement, collapse = (axes.get_position() for axes in figure.axes)
    assert energy.x1 < 0.5 < displacement.x0 == collapse.x0
    assert energy.y0 > displacement.y1 > collapse.y1
    assert comparison.draw({"a": {"HessianSpectrum": relaxation(0.0)}}) is None


def test_the_table_has_what_two_runs_share():
    runs = [{"EnergyRelaxation": relaxation(level)} for level in (0.0, 1.0)]
    other = {"EnergyRelaxation": relaxation(0.0, extensive=1)}
    tables = [list(rows(run["EnergyRelaxation"])) for run in [*runs, other]]
    table = dict(comparison.table(tables))
    assert list(table) == ["E(t = 1)", "E(t = 10)", "E(t = 100)"]
    first, second, third = table["E(t = 1)"]
    assert (first.measured, second.measured) == pytest.approx((0.05, 1.05))
    assert third is None


def test_the_report_of_two_runs_begins_with_both(tmp_path):
    for name, level in (("a", 0.0), ("b", 1.0)):
        records.write(relaxation(level), tmp_path / name / "probes" / "energy_relaxation.nc")
    page = report.page([tmp_path / "a", tmp_path / "b"])
    assert "<th class='path'>a</th><th class='path'>b</th>" in page  # what tells them apart
    assert page.index("Side by side") < page.index("<h2>EnergyRelaxation")
    assert "<td>1.05(5)</td>" in page
    assert "Side by side" not in report.page([tmp_path / "a"])


def test_response_and_effective_temperatures_stand_below_each_other():
    """chi = (Delta/2) / 0.4 at all times: T_eff = 0.4 in every part of the decay."""
    record = diffusion(1.0, T=0.1).assign_attrs(probe="LinearResponse")
    record["chi"] = record["MSD"] / 2 / 0.4
    figure = comparison.draw({"a": {"LinearResponse": record}})
    response, temperatures = figure.axes[-2:]
    assert response.get_ylabel() == r"$\chi$"
    measured = [container.lines[0].get_ydata() for container in temperatures.containers]
    assert len(measured) == 3
    for values in measured:
        reached = values[np.isfinite(values)]
        assert reached == pytest.approx(np.full(len(reached), 0.4))
    assert np.isfinite(measured[0]).all()
