"""Labelled results: one netCDF file per probe, written atomically.

A record is an `xarray.Dataset` with named dimensions (``replica``, ``tw``, ``t``, …), units in the
attributes of each variable, and a description of the run in its own attributes. Any netCDF reader
opens it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape import netcdf
from lightning_landscape.errors import UsageError, require

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["read", "remove_unfinished", "write", "write_atomically"]

_UNFINISHED = ".unfinished"  # the end of the name of a file that is being written
_MOST_TIMES_LARGER = 1000  # arrays in memory than the file that holds them


def write_atomically(path: Path, write_to: Callable[[Path], object]) -> None:
    """Call ``write_to`` with a temporary path next to ``path``, then rename it to ``path``.

    A process killed at any moment leaves either the previous file or the complete new one.

    Args:
        path: the file to create or replace; its folder is made if missing.
        write_to: writes the content to the path it receives.

    Raises:
        UsageError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(_UNFINISHED, f".{path.name}.", path.parent)
        os.close(handle)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        write_to(Path(name))
        _flush_to_disk(Path(name))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes were writing in ``folder`` or below; no process may write now.

    Links to other folders are not followed.
    """
    for path in folder.rglob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    """Ensure that the content is on disk before the file name refers to it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path}: cannot be written ({error.strerror or error}); choose another folder, or "
        "free disk space"
    )


def write(dataset: Dataset, path: str | os.PathLike[str]) -> None:
    """Write ``dataset`` to the netCDF file ``path``, atomically.

    Equal datasets give files with equal arrays and attributes: nothing in a record depends on when
    it was written.
    """
    # in memory first: on a full disk the HDF5 library leaves a file that it cannot close, and
    # the process crashes when it exits
    content = netcdf.encode(dataset)
    write_atomically(Path(path), lambda p: p.write_bytes(content.getbuffer()))


def read(path: str | os.PathLike[str]) -> Dataset:
    """Return the record in ``path``, loaded into memory.

    Raises:
        UsageError: there is no such file, it is not a valid record, or it declares arrays far
            larger than the file that should hold them.
    """
    require(Path(path).is_file(), "path", path, "is not a file", "records are in <run>/probes/*.nc")
    try:
        return netcdf.decode(path, lambda size: _check_size(size, Path(path)))
    except UsageError:
        raise
    except Exception as error:  # whatever a file of arbitrary content can raise
        raise UsageError(f"path = {path}: is not a valid record; move it elsewhere") from error


def _check_size(declared: int, path: Path) -> None:
    """Refuse a file whose arrays would fill the memory; records are not compressed."""
    size = path.stat().st_size
    if declared > _MOST_TIMES_LARGER * size:
        raise UsageError(
            f"path = {path}: declares arrays of {declared:.3g} bytes in a file of {size}; it is "
            "not a record of a run, so move it elsewhere"
        )
