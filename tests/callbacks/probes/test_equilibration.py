"""Equilibration: sides recognised, starts compared, rates recorded; and a probe like any other."""

import numpy as np
import pytest

from lightning_landscape.callbacks import Equilibration
from lightning_landscape.dynamics import MetropolisLangevin, ParallelTempering, TwoStarts
from lightning_landscape.energies import Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import ProbeContract, bare_trainer, last_record


class TestContract(ProbeContract):
    def make(self):
        return Equilibration(every=3, last=15)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Two temperatures in a well of four dimensions, from both sides, with exchange."""
    folder = tmp_path_factory.mktemp("run")
    energy = Quadratic(spectrum=[1.0, 1.0, 2.0, 2.0], replicas=32)

    def sampler(params):
        starts = TwoStarts([0.1, 0.2], chains=16, duration=5)
        tempering = ParallelTempering(every=5, chains=16)
        return MetropolisLangevin(params, 0.3, starts, exchange=tempering)

    trainer = bare_trainer([Equilibration(every=0.9, last=300)], 1000, folder)
    trainer.fit(LandscapeModule(energy, sampler))
    return last_record(folder, "equilibration")


def test_it_knows_who_came_from_where(record):
    side = record["side"].to_numpy()
    assert (side[1::2] == -1).all() and (side[16:32:2] == 0).all()
    assert (side[0:16:2] == 1).all()  # the upper rung was always at the highest temperature


def test_the_mean_energy_is_half_the_temperature_a_dimension(record):
    late = record["energy"].sel(t=record["t"] > 20).mean("t").to_numpy() * 4
    for T, chains in ((0.1, late[:16]), (0.2, late[16:])):
        assert chains.mean() == pytest.approx(2 * T, abs=4 * chains.std() / 4)


def test_the_table_says_that_the_starts_have_met(record):
    table = {row.quantity: row for row in rows(record)}
    met = table["E(from above) - E(from below), T = 0.1"]
    assert abs(met.deviation) < 4 and met.error < 0.005
    assert table["R-hat of E, T = 0.2"].measured < 1.05
    assert 0.5 < table["acceptance rate, T = 0.1"].measured < 1
    assert 0.2 < table["exchange rate, T = 0.1"].measured < 1
    assert "exchange rate, T = 0.2" not in table  # the last rung has no next one


def test_a_run_that_has_not_equilibrated_is_seen(record):
    energy = record["energy"].to_numpy().copy()
    energy[:, 0:16:2] += 0.05
    stuck = record.assign(energy=(("t", "replica"), energy))
    table = {row.quantity: row for row in rows(stuck)}
    assert table["E(from above) - E(from below), T = 0.1"].deviation > 5


def test_it_is_drawn(record):
    figure = draw(record)
    assert [axes.get_xlabel() for axes in figure.axes] == ["t", "T"]
    assert np.isfinite(figure.axes[0].lines[0].get_ydata()).all()


def test_impossible_times_are_refused():
    with pytest.raises(UsageError, match="every"):
        Equilibration(every=0, last=10)
    with pytest.raises(UsageError, match="last"):
        Equilibration(every=5, last=1)
