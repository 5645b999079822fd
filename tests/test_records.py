import os
import re
import stat
import subprocess
import sys

import numpy as np
import pytest
import xarray

from lightning_landscape import records
from lightning_landscape.errors import UsageError


def dataset(value):
    return xarray.Dataset(
        {"C": (("tw", "replica"), np.full((2, 3), value), {"long_name": "C(tw + t, tw)"})},
        coords={"tw": [0.0, 1.0]},
        attrs={"temperature": 0.3, "config": "a: 1\n"},
    )


def test_what_is_written_is_read_back(tmp_path):
    records.write(dataset(0.5), tmp_path / "probes" / "aging.nc")
    xarray.testing.assert_identical(records.read(tmp_path / "probes" / "aging.nc"), dataset(0.5))


def test_equal_datasets_give_equal_files(tmp_path):
    for name in ("a.nc", "b.nc"):
        records.write(dataset(0.5), tmp_path / name)
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_a_failure_while_writing_leaves_the_previous_file_and_no_other(tmp_path):
    path = tmp_path / "record"
    path.write_text("previous")

    def fail(temporary):
        temporary.write_text("half of the ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(UsageError, match="No space left on device"):
        records.write_atomically(path, fail)
    assert path.read_text() == "previous"
    assert os.listdir(tmp_path) == ["record"]


def test_without_room_the_previous_record_stays_and_one_sentence_says_so(tmp_path):
    """No file grows beyond 1000 bytes, as on a full disk; in a process that has no other files."""
    path = tmp_path / "aging.nc"
    path.write_text("previous")
    program = (
        "import resource, sys, xarray\n"
        "from pathlib import Path\n"
        "from lightning_landscape import errors, records\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    records.write(xarray.Dataset({'x': ('t', range(1000))}), Path(sys.argv[1]))\n"
        "except errors.UsageError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", program, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[^\n]*cannot be written \(File too large\); [^\n]*\n", done.stdout)
    assert not done.stderr
    assert path.read_text() == "previous"
    assert os.listdir(tmp_path) == ["aging.nc"]


def test_the_content_is_complete_before_the_name_points_to_it(tmp_path):
    path = tmp_path / "record"
    path.write_text("previous")

    def write(temporary):
        temporary.write_text("new")
        assert path.read_text() == "previous"

    records.write_atomically(path, write)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        records.write(dataset(0.5), tmp_path / "file" / "probes" / "aging.nc")


def test_a_damaged_record_is_one_sentence(tmp_path):
    path = tmp_path / "aging.nc"
    records.write(dataset(0.5), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UsageError, match=r"aging\.nc: is not a valid record"):
        records.read(path)


def test_a_missing_record_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match=r"path = .*nothing\.nc: is not a file"):
        records.read(tmp_path / "nothing.nc")
