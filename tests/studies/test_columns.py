"""Results as the columns of a record, and back."""

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.studies.table import columns, results

RECORDED = [
    {"point": 0, "fits": True, "loss": 0.5, "E": [1.0, 2.0, 3.0], "C": [[1.0, 0.5], [1.0, np.nan]]},
    {"point": 2, "fits": False, "loss": np.inf, "E": [4.0, 5.0, 6.0], "C": [[1.0, 0.1]] * 2},
]
DIMS = {"E": ("t",), "C": ("tw", "lag")}


def test_every_variable_begins_with_the_runs_and_keeps_its_type():
    found = columns(RECORDED, DIMS)
    assert {name: dims for name, (dims, _) in found.items()} == {
        "point": ("run",),
        "fits": ("run",),
        "loss": ("run",),
        "E": ("run", "t"),
        "C": ("run", "tw", "lag"),
    }
    assert [found[name][1].dtype.kind for name in ("point", "fits", "loss")] == ["i", "b", "f"]
    assert found["C"][1].shape == (2, 2, 2) and np.isnan(found["C"][1][0, 1, 1])


def test_a_record_on_disk_gives_the_results_back(tmp_path):
    dataset = xarray.Dataset(columns(RECORDED, DIMS), {"t": [1.0, 2.0, 3.0]}, {"probe": "X"})
    records.write(dataset.assign(E_limit=("t", [0.0, 0.0, 0.0])), tmp_path / "x.nc")
    found = results(records.read(tmp_path / "x.nc"))
    assert len(found) == 2 and "E_limit" not in found[0]
    for again, before in zip(found, RECORDED, strict=True):
        assert again.keys() == before.keys()
        for name, value in before.items():
            assert np.array_equal(again[name], value, equal_nan=True), name


def test_shorter_lists_end_with_nan():
    found = columns([{"gap": [1.0]}, {"gap": [2.0, 3.0, 4.0]}, {"gap": []}], {"gap": ("pattern",)})
    dims, values = found["gap"]
    assert dims == ("run", "pattern")
    nan = pytest.approx(np.nan, nan_ok=True)
    assert values.tolist() == [[1, nan, nan], [2, 3, 4], [nan, nan, nan]]


def test_results_that_lack_a_name_are_a_mistake():
    with pytest.raises(KeyError, match="loss"):
        columns([{"point": 0, "loss": 1.0}, {"point": 1}], {})
