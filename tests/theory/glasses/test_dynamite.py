"""The files are written here in DYNAMITE's format, from our solution in its units."""

import math

import numpy as np
import pytest

from lightning_landscape.errors import UsageError
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve
from lightning_landscape.theory.glasses.dynamite import read_series, read_surface
from lightning_landscape.theory.glasses.mixture import Mixture

PARAMETERS = """# DYNAMITE Simulation Parameters
# =========================

# Command Line Arguments
command_line = ./RG-Evo -p 3 -q 4 -l 0.5 -L 128

# Physical Parameters
p = 3
p2 = 4
lambda = 0.5
T0 = {T0}
Gamma = {Gamma}

# Numerical Parameters
len = 5
rmax = [3, 13, 20]
"""


def write_run(directory, start_temperature):
    """A run of f = (q^3 + q^4)/2 at Gamma = 0.3; returns what was solved, in its units."""
    f = Mixture({3: 0.5, 4: 0.5})
    solution = solve(f, 0.3, 4.0, start_temperature)
    T0 = "1e+50" if start_temperature == math.inf else start_temperature
    (directory / "params.txt").write_text(PARAMETERS.format(T0=T0, Gamma=0.3))
    t = np.array([0.1, 0.5, 4.0])
    C = solution.correlation(t, 0.0)
    energy = solution.energy(t) - (f(C, 1) - f(C)) / start_temperature
    np.savetxt(directory / "correlation.txt", np.stack([t, energy, C]).T, "%.14f", "\t")
    times = 4.0 * np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    np.savetxt(directory / "t1_compressed.txt", times, "%.16f")
    ratios = times / 4.0
    for name, values in (("QK", solution.correlation), ("QR", solution.response)):
        with open(directory / f"{name}_compressed", "wb") as file:
            np.array([5, 5], dtype="<u8").tofile(file)
            values(times[:, None], times[:, None] * ratios).astype("<f8").tofile(file)


@pytest.mark.parametrize("start_temperature", [math.inf, 1.3])
def test_series_in_our_units(tmp_path, start_temperature):
    write_run(tmp_path, start_temperature)
    series = read_series(tmp_path)
    model = series.model
    assert model.mixture == {3: 0.25, 4: 0.25}
    assert model.temperature == pytest.approx(0.3 / math.sqrt(2))
    assert model.start_temperature == pytest.approx(start_temperature / math.sqrt(2))
    ours = solve(model.mixture, model.temperature, 6.0, model.start_temperature)
    assert series.times == pytest.approx(np.sqrt(2) * np.array([0.1, 0.5, 4.0]))
    assert series.energy == pytest.approx(ours.energy(series.times), abs=5e-5)
    assert series.correlation == pytest.approx(ours.correlation(series.times, 0.0), abs=5e-5)


def test_surface_in_our_units(tmp_path):
    write_run(tmp_path, math.inf)
    surface = read_surface(tmp_path)
    ours = solve(surface.model.mixture, surface.model.temperature, 6.0)
    t = surface.times[:, None]
    assert surface.ratios == pytest.approx([0.0, 0.1, 0.5, 0.9, 1.0])
    assert surface.correlation == pytest.approx(ours.correlation(t, t * surface.ratios), abs=5e-5)
    assert surface.response == pytest.approx(ours.response(t, t * surface.ratios), abs=2e-4)


def test_a_pure_model_has_one_term(tmp_path):
    write_run(tmp_path, math.inf)
    parameters = tmp_path / "params.txt"
    parameters.write_text(parameters.read_text().replace("lambda = 0.5", "lambda = 1"))
    assert read_series(tmp_path).model.mixture == {3: 0.5}


def test_a_directory_without_a_run(tmp_path):
    with pytest.raises(UsageError, match=r"has no params\.txt; give a DYNAMITE run"):
        read_series(tmp_path)
