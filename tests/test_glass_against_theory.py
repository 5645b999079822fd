"""The whole chain, energy, dynamics, module and probes, against the exact dynamics at N = infinity.

The tolerances are those of the finite size: at these N the gap is a third of them or less, and
four standard errors over the samples fit into them too.
"""

import pytest

from lightning_landscape.callbacks import AgingCorrelation, EnergyRelaxation
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import SphericalPSpin
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer, last_record


def records_of(energy, temperature, steps, aging, folder):
    """Run ``steps`` of 0.01 and return the records, means over the replicas."""
    module = LandscapeModule(
        energy, lambda params: Langevin(params, lr=0.01, temperature=temperature, seed=1)
    )
    bare_trainer([EnergyRelaxation(first=0.1, last=10), aging], steps, folder).fit(module)
    found = [last_record(folder, name) for name in ("energy_relaxation", aging.name)]
    return [record.mean("replica") for record in found]


@pytest.mark.slow
def test_quench_to_zero_temperature(tmp_path):
    """E(1), E(5) and C(1, 0) of 20 samples at N = 128: -.7825, -1.0357 and .7137 exactly."""
    glass = SphericalPSpin(N=128, replicas=20, disorder="independent", seed=0)
    aging = AgingCorrelation(waiting_times=[0], first=1, last=1)
    energy, correlation = records_of(glass, 0.0, 501, aging, tmp_path)
    at = energy.sel(t=[1, 5], method="nearest", tolerance=0.02)
    assert at["energy"].values == pytest.approx([-0.78251, -1.03566], abs=0.03)
    assert abs(at["energy"] - at["energy_exact"]).max() < 0.03
    assert correlation["C"].item() == pytest.approx(0.71369, abs=0.02)
    assert correlation["C_exact"].item() == pytest.approx(0.71369, abs=1e-4)


@pytest.mark.slow
def test_planted_start_is_in_equilibrium_at_once(tmp_path):
    """At T = 0.8 > T_K: E = -f(1)/T = -0.625 at all times, and C(t) solves the MCT equation."""
    glass = SphericalPSpin(
        N=64, replicas=200, disorder="independent", start_temperature=0.8, seed=0
    )
    aging = AgingCorrelation(waiting_times=[0, 2], first=0.2, last=1, per_decade=2)
    energy, correlation = records_of(glass, 0.8, 301, aging, tmp_path)
    assert abs(energy["energy"] + 0.625).max() < 0.025
    assert abs(energy["energy_exact"] + 0.625).max() < 1e-4
    for tw in (0, 2):  # it does not age
        C = correlation["C"].sel(tw=tw)
        assert C.sel(t=1).item() == pytest.approx(0.65377, abs=0.03)
        assert C.sel(t=0.2).item() == pytest.approx(0.874, abs=0.02)
