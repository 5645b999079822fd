"""Read, verify and write the original files of the image data sets."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lightning_landscape.errors import UsageError

__all__ = ["CHECKSUMS", "read_batch", "read_idx", "write_batch", "write_checksums", "write_idx"]

CHECKSUMS = "SHA256SUMS"
"""Lists files of its folder in the format of ``sha256sum``; they are verified when read."""

_IDX_BYTES = b"\0\0\x08"  # the magic number of unsigned bytes; the number of axes follows
_ARRAYS = {
    ("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"),
    ("_codecs", "encode"),
}  # fmt: skip


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Return the bytes of an IDX file, gzipped or plain, with this number of axes.

    Raises:
        UsageError: the file is damaged, or has another content.
    """
    content = _unpacked(path)
    header = 4 + 4 * axes
    if content[:4] != _IDX_BYTES + bytes([axes]) or len(content) < header:
        raise _damaged(path, f"its header is not that of an IDX file with {axes} axes")
    shape = np.frombuffer(content[4:header], ">i4").tolist()
    if len(content) != header + math.prod(shape):
        held = len(content) - header
        raise _damaged(path, f"it holds {held} bytes, but its header gives the shape {shape}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write bytes to a gzipped IDX file."""
    shape = np.array(values.shape, dtype=">i4").tobytes()
    header = _IDX_BYTES + bytes([values.ndim]) + shape
    _write(path, gzip.compress(header + values.astype(np.uint8).tobytes(), mtime=0))


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (P, 3, 32, 32) and labels (P,) of a batch of CIFAR-10's Python version.

    The file is a pickle; it may construct arrays, and nothing that could run code.

    Raises:
        UsageError: the file is damaged, or has another content.
    """
    try:
        batch = _Arrays(io.BytesIO(_unpacked(path)), encoding="bytes").load()
        images, labels = batch[b"data"], np.asarray(batch[b"labels"])
        return images.reshape(len(labels), 3, 32, 32), labels
    except UsageError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, f"it is not a batch of CIFAR-10's Python version ({error})") from error


def write_batch(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write images (P, 3, 32, 32) and labels as a batch of CIFAR-10's Python version."""
    rows = images.reshape(len(labels), -1).astype(np.uint8)
    _write(path, pickle.dumps({b"data": rows, b"labels": labels.tolist()}, protocol=3))


def write_checksums(folder: Path, names: list[str]) -> None:
    """Write the checksums of these files of the folder."""
    lines = [f"{_sha256((folder / name).read_bytes())}  {name}\n" for name in names]
    _write(folder / CHECKSUMS, "".join(lines).encode())


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy._core", "numpy.core"), name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module, name)


def _unpacked(path: Path) -> bytes:
    """Return the contents, verified against the listed checksum if there is one."""
    content = path.read_bytes()
    listed = _listed_checksums(path.parent).get(path.name)
    if listed not in (None, _sha256(content)):
        raise _damaged(path, f"its checksum is not the one in {CHECKSUMS}")
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error


def _listed_checksums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / CHECKSUMS).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines if line.strip())
    return {name.lstrip("*"): checksum for checksum, name in pairs}


def _write(path: Path, content: bytes) -> None:
    """Write to a temporary file and rename it, so that the named file is always complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _damaged(path: Path, how: str) -> UsageError:
    return UsageError(f"{path}: is damaged, or not the expected file: {how}; download it again")
