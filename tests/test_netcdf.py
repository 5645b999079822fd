"""Our encoding against that of a generic netCDF library, in both directions."""

import h5py
import numpy as np
import pytest
import xarray

from lightning_landscape import netcdf


@pytest.fixture
def dataset():
    """All kinds of variables, coordinates and attributes that a record may have."""
    variables = {
        "E": (("t", "replica"), np.arange(6.0).reshape(3, 2), {"units": "1", "long_name": "E/N"}),
        "with gaps": ("t", np.array([1, np.nan, 3], "float32")),
        "jammed": ("t", [True, False, True]),
        "large": ("replica", np.array([2**63, 1], "uint64")),
        "name": ("replica", ["β", "a longer one"]),
        "nothing yet": (("later", "replica"), np.zeros((0, 2))),
        "N": 3,
        "kind": "spherical",
    }
    coordinates = {
        "t": [0.5, 1.0, 2.0],
        "label": ("replica", ["a", "b"]),
        "load": ("t", [1.0, 2.0, 3.0]),
        "T": 0.3,
    }
    attributes = {
        "probe": "Energy",
        "empty": "",
        "config": 20_000 * "a: 1\n",
        "temperature": np.float32(0.3),
        "replicas": 2,
        "times": [1.0, 2.5],
        "names": ["a", "b"],
    } | {f"more {k}": k for k in range(20)}
    return xarray.Dataset(variables, coordinates, attributes)


def assert_same(found, expected):
    xarray.testing.assert_identical(found, expected)
    for name, variable in expected.variables.items():
        assert found[name].dtype.kind == variable.dtype.kind, name
    assert list(found.data_vars) == list(expected.data_vars)


def test_another_library_reads_what_is_written(dataset, tmp_path):
    path = tmp_path / "ours.nc"
    path.write_bytes(netcdf.encode(dataset).getbuffer())
    with xarray.open_dataset(path, engine="h5netcdf") as opened:
        assert_same(opened.load(), dataset)


def test_what_another_library_writes_is_read(dataset, tmp_path):
    dataset.to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    sizes = []
    assert_same(netcdf.decode(tmp_path / "theirs.nc", sizes.append), dataset)
    strings, bools = 8 * (2 + 2 + 1), 3  # a pointer each, and a byte
    assert sizes == [8 * (6 + 2 + 1 + 3 + 3 + 1) + 4 * 3 + strings + bools]


def test_what_is_written_is_read(dataset, tmp_path):
    path = tmp_path / "ours.nc"
    path.write_bytes(netcdf.encode(dataset).getbuffer())
    assert_same(netcdf.decode(path, lambda size: None), dataset)


@pytest.mark.parametrize("value", [None, {"a": 1}, True, 1j])
def test_an_attribute_that_no_reader_knows_is_refused(value):
    with pytest.raises(TypeError, match="attribute a = "):
        netcdf.encode(xarray.Dataset(attrs={"a": value}))


def test_nothing_is_read_from_other_files(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(8 * b"\x00")
    with h5py.File(tmp_path / "external.nc", "w") as file:
        file.create_dataset("E", (1,), "float64", external=[(str(secret), 0, 8)])
    with pytest.raises(ValueError, match="in other files"):
        netcdf.decode(tmp_path / "external.nc", lambda size: None)
    with h5py.File(tmp_path / "theirs.nc", "w") as file:
        file["E"] = [1.0]
    with h5py.File(tmp_path / "link.nc", "w") as file:
        file["E"] = h5py.ExternalLink(str(tmp_path / "theirs.nc"), "/E")
    assert not netcdf.decode(tmp_path / "link.nc", lambda size: None).variables


def test_arrays_that_are_too_large_are_not_read(tmp_path):
    with h5py.File(tmp_path / "large.nc", "w") as file:
        file.create_dataset("E", (10**12,), "float64", chunks=(1000,))

    def refuse(size):
        raise OverflowError(size)

    with pytest.raises(OverflowError, match=str(8 * 10**12)):
        netcdf.decode(tmp_path / "large.nc", refuse)
