import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.cli import report
from lightning_landscape.cli.report.runs import read
from lightning_landscape.results import comparison
from lightning_landscape.results.registry import look_up
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
    (panel,) = [p for p in comparison.overlays({"a": run}) if p.frame.guide_label]
    assert (panel.frame.x, panel.frame.guide_label) == ("steps", "free diffusion")
    assert len(panel.curves["a"]) == 2
    for curve in panel.curves["a"]:
        assert np.asarray(curve.x) == pytest.approx([10, 100, 1000])
        assert np.asarray(curve.y) == pytest.approx(np.asarray(curve.x))


def test_runs_share_a_panel_where_name_axes_and_system_are_the_same():
    runs = {
        "a": {"EnergyRelaxation": relaxation(0.0)},
        "b": {"EnergyRelaxation": relaxation(1.0), "AgingCorrelation": diffusion(1.0)},
        "c": {"EnergyRelaxation": relaxation(0.0, N=7, energy_unit="E / N")},
    }
    panels = comparison.overlays(runs)
    energies = [p for p in panels if p.name == "energy"]
    assert [list(p.curves) for p in energies] == [["a", "b"], ["c"]]
    assert [p.frame.y for p in energies] == ["energy", "E / N"]
    assert [p.name for p in panels][:2] == ["energy", "energy"]  # in the order of the kinds
    assert "displacement" in [p.name for p in panels]


def test_glass_and_network_share_the_axes_in_units_without_dimension():
    glass = diffusion(1.0).assign_attrs(energy="SphericalPSpin", N=96)
    runs = {"glass": {"AgingCorrelation": glass}, "net": {"AgingCorrelation": diffusion(3.0)}}
    panels = {p.name: list(p.curves) for p in comparison.overlays(runs)}
    assert panels["displacement in units of its age"] == ["glass", "net"]
    assert panels["displacement"] == ["net"]  # a panel for each system


def test_a_run_is_drawn_in_its_colour_under_its_number():
    from matplotlib.figure import Figure

    runs = {name: {"EnergyRelaxation": relaxation(x)} for name, x in (("a", 0.0), ("b", 1.0))}
    (panel,) = comparison.overlays(runs)
    colors, axes = comparison.colors(runs), Figure().subplots()
    comparison.draw(panel, colors, axes)
    drawn = {line.get_gid(): line.get_color() for line in axes.lines}
    assert drawn == {"run-0": colors["a"], "run-1": colors["b"]}
    assert colors["a"] != colors["b"]


@pytest.mark.parametrize("runs", [1, 6, 60])
def test_every_run_has_a_colour_of_its_own(runs):
    names = [str(k) for k in range(runs)]
    assert len(set(comparison.colors(names).values())) == runs


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
    page = report.page(read([tmp_path / "a", tmp_path / "b"]))
    assert "<th class='path'>a</th><th class='path'>b</th>" in page  # what tells them apart
    assert page.index("On the same axes") < page.index("<h2>EnergyRelaxation")
    assert "<td>1.05(5)</td>" in page
    assert "On the same axes" not in report.page(read([tmp_path / "a"]))


def test_the_response_is_a_straight_line_where_there_is_one_temperature():
    """chi = (Delta/2) / 0.4 at all times: T_eff = 0.4 in every part of the decay."""
    record = diffusion(1.0, T=0.1).assign_attrs(probe="LinearResponse")
    record["chi"] = record["MSD"] / 2 / 0.4
    panels = {p.name: p.curves["a"] for p in comparison.overlays({"a": {"LinearResponse": record}})}
    for curve in panels["effective temperatures"]:
        reached = np.asarray(curve.y)[np.isfinite(curve.y)]
        assert reached == pytest.approx(np.full(len(reached), 0.4))
    assert np.isfinite(panels["effective temperatures"][0].y).all()
    estimates = look_up("LinearResponse").estimates(record, {"LinearResponse": record})
    found = {estimate.quantity.split(":")[0]: estimate.value for estimate in estimates}
    assert found.get("response law", 0.0) == pytest.approx(0.0, abs=1e-12) or np.isnan(
        found["response law"]
    )


def test_estimates_of_aging_are_those_of_known_curves():
    """Delta = (t / tw^0.5)^0.8: mu = 0.5, slowing down by 0.4, diffusion with 0.8."""
    tw, t = np.array([1.0, 10.0, 100.0]), np.geomspace(0.1, 1000, 21)
    scatter = 1 + 0.01 * np.random.default_rng(0).normal(size=(3, 21, 6))
    MSD = (t / tw[:, None] ** 0.5)[:, :, None] ** 0.8 * scatter
    dims = ("tw", "t", "replica")
    attributes = {"probe": "AgingCorrelation", "temperature": 0.5, "time_step": 0.1, "N": 5}
    record = xarray.Dataset(
        {"C": (dims, -MSD), "MSD": (dims, MSD)}, {"tw": tw, "t": t}, {**attributes, "replicas": 6}
    )
    found = {
        each.quantity: (each.value, each.error)
        for each in look_up("AgingCorrelation").estimates(record, {"AgingCorrelation": record})
    }
    level = np.log((t / 10) ** 0.8 / (2 * 0.5 * t))[t >= 100 * (1 - 1e-9)].mean()
    known = {
        "aging: μ of Δ(t / tw^μ)": 0.5,
        "aging: -d ln Δ / d ln tw at t = ⟨tw⟩, 0 if stationary": 0.4,
        "diffusion at the bottom: a of Δ ~ t^a": 0.8,
        "diffusion at the bottom: ln of Δ / (η² D steps)": level,
    }
    assert list(found) == list(known)
    for quantity, value in known.items():
        measured, error = found[quantity]
        assert abs(measured - value) < 4 * error < 0.1, quantity


def test_estimates_of_a_spectrum_are_those_of_its_eigenvalues():
    edges = np.array([-1.0, 0.0, 2.0, 10.0])
    fraction = np.array([[0.1, 0.1], [0.7, 0.5], [0.2, 0.4]])  # (bin, replica)
    record = xarray.Dataset(
        {
            "highest": (("t", "replica", "rank"), np.full((1, 2, 1), 10.0)),
            "lowest": (("t", "replica", "rank"), [[[-1.0], [-0.8]]]),
            "edges": (("t", "edge"), edges[None]),
            "fraction": (("t", "bin", "replica"), fraction[None]),
        },
        {"t": [1.0]},
        {"probe": "HessianSpectrum", "N": 5},
    )
    found = {each.quantity: each for each in look_up("HessianSpectrum").estimates(record, {})}
    edge, below = found["spectrum: λ_min / λ_max"], list(found.values())[-1]
    assert (edge.value, edge.error) == pytest.approx((-0.09, 0.01))
    # below -0.1, 0.1 and 1, linear within bins
    assert below.value == pytest.approx([0.09, 0.1 + 0.6 * 0.05, 0.1 + 0.6 * 0.5])
    assert below.error == pytest.approx([0, 0.1 * 0.05, 0.1 * 0.5])
    assert found["spectrum: ln λ_max"].value == pytest.approx(np.log(10))
