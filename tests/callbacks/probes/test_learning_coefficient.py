"""The probe LearningCoefficient: right in a quadratic well, and a probe like any other."""

import math

import pytest

from lightning_landscape import records
from lightning_landscape.callbacks import LearningCoefficient
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import ProbeContract, bare_trainer


class TestContract(ProbeContract):
    def make(self):
        return LearningCoefficient(lr=0.01, steps=8, burn_in=2, temperature=0.01, last=15)


def fit(energy, probe, folder, steps=1):
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(LandscapeModule(energy))
    return records.read(folder / "probes/learning_coefficient.nc")


def test_at_the_bottom_of_a_well_it_is_half_the_dimension(tmp_path):
    energy = Quadratic([1.0, 2.0, 4.0, 8.0], replicas=300, start=0.0)
    probe = LearningCoefficient(
        lr=0.05, steps=500, burn_in=100, temperature=1e-4, localisation=1.0, first=1e-3, last=1e-3
    )
    record = fit(energy, probe, tmp_path)
    assert record["learning_coefficient"].dims == ("t", "replica")
    row, doubled = rows(record)
    assert doubled.measured == pytest.approx(2 * row.measured)
    assert doubled.error == pytest.approx(2 * row.error)
    assert row.error < 0.02
    assert row.measured == pytest.approx(2.0, abs=4 * row.error)
    assert draw(record).axes[0].get_xlabel() == "t"


def test_the_temperature_is_that_of_watanabe_where_there_are_samples(tmp_path):
    data = RandomData(samples=30, dimension=4)
    energy = NetworkEnergy(FullyConnected([4, 3, 2], replicas=2), data)
    record = fit(energy, LearningCoefficient(lr=0.01, steps=4, burn_in=1, last=1), tmp_path)
    assert record.attrs["chain_temperature"] == pytest.approx(math.log(30) / 30)


def test_without_samples_a_temperature_is_asked_for(tmp_path):
    with pytest.raises(UsageError, match="give a temperature"):
        fit(Quadratic([1.0]), LearningCoefficient(lr=0.01, last=1), tmp_path)


@pytest.mark.parametrize("change", ["lr", "steps", "temperature"])
def test_impossible_arguments_are_refused(change):
    with pytest.raises(UsageError, match=f"^{change} ="):
        LearningCoefficient(**{"lr": 0.1, change: 0})


def test_on_a_ladder_the_coldest_replicas_are_the_nearest_to_the_minimum(tmp_path):
    """Hot ones start high above it: their coefficient, of a negative energy, is not shown."""
    energy = Quadratic([1.0, 2.0], replicas=200, start=0.0)
    module = LandscapeModule(energy, lambda p: Langevin(p, 0.1, [1e-9, 1e-2]))
    probe = LearningCoefficient(0.1, steps=400, burn_in=100, temperature=1e-4, first=2, last=2)
    bare_trainer([probe], 20, tmp_path).fit(module)
    record = records.read(tmp_path / "probes/learning_coefficient.nc")
    assert record["learning_coefficient"].isel(replica=slice(100, None)).mean() < -10
    row, doubled = rows(record)
    assert "from T = 1e-09" in row.quantity
    assert doubled.measured == pytest.approx(2.0, abs=4 * doubled.error) and doubled.error < 0.1
