"""The netCDF-4 encoding of a dataset, written and read through h5py alone.

A netCDF-4 file is an HDF5 file with a dataset for each variable and for each dimension, the latter
marked as scales (Unidata, NetCDF-4 file format specification). The variables of our records are
many and small: generic backends, which look each of them up by name a dozen times, take ten times
as long.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import h5py
    from xarray import Dataset, Variable

__all__ = ["decode", "encode"]

_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable."
_OF_THE_FORMAT = {
    "CLASS", "DIMENSION_LIST", "NAME", "REFERENCE_LIST",
    "_NCProperties", "_Netcdf4Coordinates", "_Netcdf4Dimid", "_nc3_strict",
}  # fmt: skip


def encode(dataset: Dataset) -> io.BytesIO:
    """Return the netCDF-4 file of a dataset; equal datasets give equal bytes.

    Cost: about 0.5 ms for each variable, and a copy of the arrays.

    Raises:
        TypeError: an attribute is neither a number nor a text nor an array of these.
    """
    import h5py
    from xarray.conventions import cf_encoder, encode_dataset_coordinates

    variables, attributes = cf_encoder(*encode_dataset_coordinates(dataset))
    content = io.BytesIO()
    with h5py.File(content, "w", track_order=True) as file:
        _write_attributes(file, attributes)
        scales = {
            str(name): _write_scale(file, name, size, number, variables)
            for number, (name, size) in enumerate(dataset.sizes.items())
        }
        for name, variable in variables.items():
            if name not in scales:
                written = _write_variable(file, name, variable)
                for axis, dimension in enumerate(variable.dims):
                    written.dims[axis].attach_scale(scales[str(dimension)])
    return content


def decode(path: str | os.PathLike[str], check: Callable[[int], object]) -> Dataset:
    """Return the dataset of a netCDF-4 file, loaded into memory; groups are ignored.

    Args:
        path: the file.
        check: called with the number of bytes that its arrays need, before any of them is read.

    Raises:
        ValueError, OSError, KeyError: it is not a netCDF-4 file, or has arrays in other files.
    """
    import h5py
    from xarray import Dataset, Variable
    from xarray.conventions import decode_cf

    with h5py.File(path, "r") as file:
        found = {name: file[name] for name in file if _is_inside(file, name)}
        arrays = {name: x for name, x in found.items() if isinstance(x, h5py.Dataset)}
        attributes = {name: dict(x.attrs) for name, x in arrays.items()}
        shown = [name for name in arrays if not _is_dimension_only(attributes[name])]
        check(sum(arrays[name].nbytes for name in shown))
        variables = {
            name: Variable(
                _dimensions(file, name, arrays[name], attributes[name]),
                _values(arrays[name]),
                _read_attributes(attributes[name]),
            )
            for name in shown
        }
        return decode_cf(Dataset(variables, attrs=_read_attributes(dict(file.attrs))))


def _write_scale(
    file: h5py.File, name: Any, size: int, number: int, variables: Mapping[Any, Variable]
) -> h5py.Dataset:
    """Write a dimension, with its variable where it has one."""
    if name in variables:
        scale = _write_variable(file, name, variables[name])
        scale.make_scale(str(name))
    else:
        scale = file.create_dataset(str(name), shape=(size,), dtype=">f4")
        scale.make_scale(f"{_NO_VARIABLE.decode()}{size:10d}")
    scale.attrs["_Netcdf4Dimid"] = np.int32(number)
    return scale


def _write_variable(file: h5py.File, name: Any, variable: Variable) -> h5py.Dataset:
    import h5py

    values = np.asarray(variable.values)
    if values.dtype.kind in "OU":
        written = file.create_dataset(str(name), values.shape, h5py.string_dtype())
        written[...] = values.astype(object)
    else:
        written = file.create_dataset(str(name), data=values)
    _write_attributes(written, variable.attrs)
    return written


def _write_attributes(owner: h5py.HLObject, attributes: Mapping[Any, Any]) -> None:
    """Write attributes; numbers as arrays, as the netCDF library does."""
    for name, value in attributes.items():
        kind = np.asarray(value).dtype.kind
        if kind not in "iufUS":
            raise TypeError(f"attribute {name} = {value}: must be a number, a text or an array")
        owner.attrs[str(name)] = value if kind in "US" else np.atleast_1d(value)


def _is_inside(file: h5py.File, name: str) -> bool:
    """Return whether what has this name is in the file itself, and no link to another."""
    import h5py

    return isinstance(file.get(name, getlink=True), h5py.HardLink)


def _is_dimension_only(attributes: dict[str, Any]) -> bool:
    return bytes(attributes.get("NAME", b"")).startswith(_NO_VARIABLE)


def _dimensions(
    file: h5py.File, name: str, array: h5py.Dataset, attributes: dict[str, Any]
) -> list[str]:
    """Return the names of the dimensions of a variable."""
    if "DIMENSION_LIST" not in attributes:
        return [name] if array.ndim == 1 else []
    return [file[scales[0]].name.lstrip("/") for scales in attributes["DIMENSION_LIST"]]


def _values(array: h5py.Dataset) -> np.ndarray:
    import h5py

    if array.external or array.is_virtual:
        raise ValueError(f"{array.name} is kept in other files")
    if h5py.check_string_dtype(array.dtype) is not None:
        return np.asarray(array.asstr()[()], dtype=str)
    return np.asarray(array[()])


def _read_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes other than those of the format; arrays of one element as scalars."""
    return {name: _scalar(x) for name, x in attributes.items() if name not in _OF_THE_FORMAT}


def _scalar(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = value.tolist()
    return value[0] if isinstance(value, np.ndarray | list) and len(value) == 1 else value
