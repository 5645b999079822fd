"""Studies of wide networks: their records, the theory beside them, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest

from lightning_landscape import records
from lightning_landscape.data import Digits, Subset
from lightning_landscape.errors import UsageError
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.studies import Experiment, Processes
from lightning_landscape.studies.wide_networks import Family, InitialNetworks, KernelMotion


def run(study, folder: Path):
    said = []
    Experiment(study, Processes(1)).run(folder / "record.nc", {}, said.append)
    return records.read(folder / "record.nc"), said


def test_networks_at_initialisation_agree_with_theory(tmp_path):
    families = [
        Family("relu", 32),
        Family("tanh", 24),
        Family("tanh", 48),
        Family("tanh", 48, skip=0.5),
        Family("gelu", 32),
    ]
    study = InitialNetworks(families, depth=5, networks=150, seeds=8)
    record, said = run(study, tmp_path)
    assert len(said) == 5 and said[3].startswith("tanh, n = 48, skip 0.5: ")
    table = {row.quantity: row for row in rows(record)}
    exact = [row for row in table.values() if not row.elsewhere and row.is_known]
    assert len(exact) > 10 and all(abs(row.deviation) < 4.5 for row in exact if row.error > 0)
    tanh = table["Var G / K² (tanh, n = 24, l = 5)"]
    assert tanh.measured == pytest.approx(tanh.exact, rel=0.25)
    assert table["ν (tanh, l = 5)"].exact == pytest.approx(0.0393984 / 0.127905**2 / 4, rel=1e-4)
    assert record["mean_exact"][4, 0] == pytest.approx(3.561553, rel=1e-5)  # K* of gelu
    assert [axes.get_xlabel() for axes in draw(record).axes] == [r"$(l-1)/n$", "l", "l"]


def test_a_heavy_tail_has_no_second_moment(tmp_path):
    """Var ln G is about 1.2 for ReLU, n = 16 and l = 6: 10 exp(4.8) networks would be needed."""
    families = [Family("relu", 16), Family("relu", 17), Family("tanh", 16), Family("tanh", 17)]
    record, _ = run(InitialNetworks(families, depth=6, networks=20, seeds=2), tmp_path)
    table = {row.quantity for row in rows(record)}
    assert "Var ln (G - C_b) (relu, n = 16, l = 6)" in table
    assert "Var G / K² (relu, n = 16, l = 6)" not in table and "ν (relu, l = 6)" not in table
    assert {"Var G / K² (tanh, n = 16, l = 6)", "ν (tanh, l = 6)"} <= table


def test_a_record_is_continued(tmp_path):
    families = [Family("relu", 16), Family("tanh", 16)]

    def study(some):
        return InitialNetworks(some, depth=3, networks=20, seeds=2)

    run(study(families[:1]), tmp_path)
    record, said = run(study(families), tmp_path)
    assert len(said) == 1 and record.sizes["run"] == 4
    alone, _ = run(study(families), tmp_path / "alone")
    np.testing.assert_array_equal(record["relative_variance"], alone["relative_variance"])


def test_the_tangent_kernel_moves_by_the_inverse_width(tmp_path):
    data = Subset(Digits(parity=True), 6, "equal")
    study = KernelMotion(data, [32, 128], ["tanh"], lr=0.5, steps=60, networks=4, seeds=3)
    record, said = run(study, tmp_path)
    assert len(said) == 2 and record.sizes["run"] == 6
    *motion, exponent = rows(record)
    assert exponent.quantity == "exponent of n (tanh)" and exponent.exact == -1
    assert -1.3 < exponent.measured < -0.7 and exponent.error < 0.15
    assert motion[0].measured > 3 * motion[1].measured
    assert len(draw(record).axes) == 2


def test_maximal_update_moves_the_kernel_at_any_width(tmp_path):
    data = Subset(Digits(parity=True), 6, "equal")
    how = {"lr": 0.05, "steps": 40, "networks": 3, "seeds": 3, "width_exponent": 1.0}
    record, _ = run(KernelMotion(data, [32, 128], ["tanh"], **how), tmp_path)
    *motion, exponent = rows(record)
    assert exponent.exact == 0 and abs(exponent.measured) < 0.3
    assert motion[1].measured > 0.05


@pytest.mark.parametrize(
    "change, message",
    [
        ({"families": []}, "^families = "),
        ({"depth": 1}, "^depth = 1"),
        ({"families": [Family("relu", 4)]}, "^width = 4"),
        ({"K1": 0.1, "families": [Family("gelu", 16)]}, "^K1 = 0.1: must be more than C_b"),
        ({"K1": -1.0}, "^K1 = -1.0"),
    ],
)
def test_impossible_networks_are_refused(change, message):
    with pytest.raises(UsageError, match=message):
        InitialNetworks(**{"families": [Family("relu", 16)], **change})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"widths": [16]}, "^widths = "),
        ({"lr": 0.0}, "^lr = "),
        ({"activations": []}, "^activations = "),
        ({"data": Digits()}, "^classes of the data = 10"),
    ],
)
def test_impossible_training_is_refused(change, message):
    data = Subset(Digits(parity=True), 6)
    with pytest.raises(UsageError, match=message):
        KernelMotion(**{"data": data, "widths": [8, 16], "activations": ["tanh"], **change})
