"""Image data sets from small files in the original formats, written here byte by byte."""

import gzip
import hashlib
import io
import pickle
import struct
from typing import ClassVar

import numpy as np
import pytest
import sklearn.datasets
import torch

from lightning_landscape.data import CIFAR10, MNIST, FashionMNIST
from lightning_landscape.data._openml import Source
from lightning_landscape.errors import UsageError

IDX = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
BATCHES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def idx(values):
    """The bytes of an IDX file: magic number, sizes and data."""
    return struct.pack(f">HBB{values.ndim}i", 0, 8, values.ndim, *values.shape) + values.tobytes()


def write_idx_files(folder, random, packed=False):
    shapes = (30, 28, 28), (30,), (20, 28, 28), (20,)
    arrays = [random.integers(0, 256 if len(s) == 3 else 10, s, np.uint8) for s in shapes]
    for name, values in zip(IDX, arrays, strict=True):
        content = idx(values)
        suffix = ".gz" if packed else ""
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if packed else content)
    return arrays


class PickledByPython2(pickle._Pickler):
    """Writes strings as Python 2 did, with which the original files were made."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, text):
        content = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(b"T" + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[bytes] = dispatch[str] = save_string


def python2_batch(images, labels):
    batch = {"data": images, "labels": labels.tolist(), "batch_label": "training batch 1 of 5"}
    file = io.BytesIO()
    PickledByPython2(file, protocol=2).dump(batch)
    return file.getvalue().replace(b"numpy._core.", b"numpy.core.")  # its name at the time


def write_batches(folder, random, made=python2_batch):
    batches = []
    for name in BATCHES:
        images, labels = random.integers(0, 256, (6, 3072), np.uint8), random.integers(0, 10, 6)
        (folder / name).write_bytes(made(images, labels))
        batches.append((images, labels))
    return batches


def raw(x, pixels):
    """Undo a shift and a scale factor, inferred from the smallest and the largest value."""
    span = float(pixels.max()) - float(pixels.min())
    return (x - x.min()) / (x.max() - x.min()) * span + float(pixels.min())


# the files


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_idx_files_are_read(kind, packed, tmp_path, random):
    images, labels, test_images, test_labels = write_idx_files(tmp_path, random, packed)
    data = kind(str(tmp_path))
    assert data.inputs.shape == (30, 1, 28, 28) and data.test_inputs.shape == (20, 1, 28, 28)
    assert data.classes == 10 and data.inputs.dtype == torch.float32
    assert data.targets.tolist() == labels.tolist()
    assert data.test_targets.tolist() == test_labels.tolist()
    assert np.allclose(raw(data.inputs, images).squeeze(1), images, atol=1e-3)
    # test samples by the numbers of the training samples
    expected = (test_images - images.mean()) / images.std()
    assert np.allclose(data.test_inputs.squeeze(1), expected, atol=1e-5)
    assert data.inputs.mean().item() == pytest.approx(0, abs=1e-6)
    assert data.inputs.square().mean().item() == pytest.approx(1, abs=1e-5)


def test_batches_of_cifar_are_read_in_their_order(tmp_path, random):
    *training, (test_images, test_labels) = write_batches(tmp_path, random)
    data = CIFAR10(str(tmp_path))
    assert data.inputs.shape == (30, 3, 32, 32) and data.test_inputs.shape == (6, 3, 32, 32)
    assert data.targets.tolist() == [y for _, labels in training for y in labels]
    assert data.test_targets.tolist() == test_labels.tolist()
    images = np.concatenate([images for images, _ in training]).reshape(-1, 3, 32, 32)
    for channel in range(3):  # planes of red, green and blue, row by row
        plane, mean = data.inputs[:, channel], images[:, channel].mean()
        expected = (images[:, channel] - mean) / images[:, channel].std()
        assert np.allclose(plane, expected, atol=1e-5)
        expected = test_images.reshape(-1, 3, 32, 32)[:, channel] - mean
        assert np.allclose(
            data.test_inputs[:, channel] * images[:, channel].std(), expected, atol=1e-3
        )


def test_the_home_folder_is_expanded(tmp_path, random, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_idx_files(tmp_path, random)
    assert len(MNIST("~").targets) == 30


# what is wrong with them


def damage_idx(folder, index, change):
    path = folder / IDX[index]
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "index, change, words",
    [
        (0, lambda b: b[:-1], r"train-images.*holds 23519 bytes.*\[30, 28, 28\]"),
        (0, lambda b: b[:7], "train-images.*its header is not"),
        (0, lambda b: b"", "train-images.*its header is not"),
        (2, lambda b: b + b"x", "t10k-images.*holds 15681 bytes"),
        (1, lambda b: b"\1" + b[1:], "train-labels.*its header is not"),
        (0, lambda b: idx(np.zeros(30, np.uint8)), "train-images.*with 3 axes"),
        (1, lambda b: idx(np.zeros((30, 28, 28), np.uint8)), "train-labels.*with 1 axes"),
        (1, lambda b: idx(np.zeros(20, np.uint8)), "30 training images and 20 labels"),
        (3, lambda b: idx(np.full(20, 11, np.uint8)), "20 test images and 20 labels 11"),
    ],
)
def test_damaged_or_wrong_idx_files_give_one_sentence(index, change, words, tmp_path, random):
    write_idx_files(tmp_path, random)
    damage_idx(tmp_path, index, change)
    with pytest.raises(UsageError, match=words) as info:
        MNIST(str(tmp_path))
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("change", [lambda b: b[:-9], lambda b: b[:500] + b"oops" + b[504:]])
def test_damaged_archives_give_one_sentence(change, tmp_path, random):
    write_idx_files(tmp_path, random, packed=True)
    path = tmp_path / f"{IDX[0]}.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte\.gz: is damaged"):
        MNIST(str(tmp_path))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "test_batch: is damaged"),
        (b"no pickle at all", "test_batch: is damaged"),
        (pickle.dumps({b"data": 3}), "labels"),
        (pickle.dumps([1, 2]), "test_batch: is damaged"),
        (pickle.dumps({b"data": np.zeros((2, 9), np.uint8), b"labels": [0, 1]}), "reshape"),
    ],
)
def test_damaged_batches_give_one_sentence(content, words, tmp_path, random):
    write_batches(tmp_path, random)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(UsageError, match=words) as info:
        CIFAR10(str(tmp_path))
    assert "download it again" in str(info.value)


def test_a_pickle_runs_no_code(tmp_path, random):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "harm").write_text, ("done",)

    write_batches(tmp_path, random)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UsageError, match=r"data_batch_3.*it refers to"):
        CIFAR10(str(tmp_path))
    assert not (tmp_path / "harm").exists()


def test_listed_checksums_are_verified(tmp_path, random):
    write_idx_files(tmp_path, random)
    sums = [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}" for name in IDX]
    (tmp_path / "SHA256SUMS").write_text("\n".join(sums))
    MNIST(str(tmp_path))
    damage_idx(tmp_path, 0, lambda b: b[:-1] + b"\x07")  # of the right size
    with pytest.raises(UsageError, match=r"train-images.*checksum is not the one in SHA256SUMS"):
        MNIST(str(tmp_path))


def test_missing_files_are_named(tmp_path, random):
    write_idx_files(tmp_path, random)
    (tmp_path / IDX[1]).unlink()
    with pytest.raises(UsageError, match=f"lacks {IDX[1]}; add them"):
        MNIST(str(tmp_path))


# openml.org


def openml(monkeypatch, kind, X, y, test_counts):
    """Replace openml.org by these data sets; return the list of requests."""
    asked = []
    shape, training = kind._source.image_shape, len(y) - sum(test_counts)

    def fetch(**request):
        asked.append(request["data_id"])
        return X.astype(float), y.astype(str).astype(object)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    monkeypatch.setattr(kind, "_source", Source(7, shape, training, test_counts))
    return asked


@pytest.mark.parametrize("kind, pixels, files", [
    (MNIST, 784, [f"{name}.gz" for name in IDX]),
    (FashionMNIST, 784, [f"{name}.gz" for name in IDX]),
    (CIFAR10, 3072, BATCHES),
])  # fmt: skip
def test_downloads_are_saved_in_the_original_format(
    kind, pixels, files, tmp_path, random, monkeypatch
):
    X, y = random.integers(0, 256, (40, pixels)), np.arange(40) % 10
    asked = openml(monkeypatch, kind, X, y, [1] * 10)
    folder = tmp_path / "new" / "folder"
    first, again = kind(str(folder)), kind(str(folder))
    assert asked == [7]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*files, "SHA256SUMS"])
    for data in (first, again):
        assert data.targets.tolist() == y[:30].tolist()
        assert data.test_targets.tolist() == y[30:].tolist()
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.test_inputs, again.test_inputs)
    shape = kind._source.image_shape
    channels = np.concatenate([X[:30].reshape(30, -1, *shape[-2:])])
    mean, std = (f(channels, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    assert np.allclose(first.inputs, (channels - mean) / std, atol=1e-5)
    # and damage is noticed
    path = folder / files[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UsageError, match="checksum"):
        kind(str(folder))


@pytest.mark.parametrize("how", ["counts", "pixels"])
def test_an_unexpected_data_set_is_refused(how, tmp_path, random, monkeypatch):
    X, y = random.integers(0, 256, (40, 784)), np.arange(40) % 10
    if how == "counts":
        y[35] = 0
    else:
        X = X - 0.5
    openml(monkeypatch, MNIST, X, y, [1] * 10)
    with pytest.raises(UsageError, match="data set 7 is not the one expected"):
        MNIST(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_no_files_and_no_network_give_one_sentence(tmp_path, monkeypatch):
    def fetch(**request):
        raise ConnectionError("no route")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    with pytest.raises(UsageError) as info:
        MNIST(str(tmp_path))
    sentence = str(info.value)
    assert str(tmp_path) in sentence and all(name in sentence for name in IDX)
    assert "with a network connection" in sentence and "\n" not in sentence


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, CIFAR10])
@pytest.mark.filterwarnings("ignore:.*Retrying", "ignore:Downloaded file could have been")
def test_openml_provides_them(kind, tmp_path):
    try:
        data = kind(str(tmp_path))
    except UsageError as error:
        if "did not deliver" in str(error):
            pytest.skip(f"no network: {error}")
        raise
    assert len(data.inputs) == kind._source.training_samples and len(data.test_inputs) == 10_000
    assert data.test_targets.bincount().tolist() == list(kind._source.test_counts)
