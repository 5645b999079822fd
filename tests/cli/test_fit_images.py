"""`fit` on images, from small files in the original formats, with each kind of network."""

import struct
from pathlib import Path

import numpy as np
import pytest
import xarray
import yaml

from lightning_landscape import records
from lightning_landscape.__main__ import main
from lightning_landscape.data._files import write_batch

RANDOM = np.random.default_rng(0)


def write_mnist(folder, samples=60, test_samples=20):
    folder.mkdir(parents=True)
    for name, P in (("train", samples), ("t10k", test_samples)):
        images, labels = RANDOM.integers(0, 256, (P, 28, 28), np.uint8), np.arange(P) % 10
        head = struct.pack(">HBB3i", 0, 8, 3, P, 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">HBBi", 0, 8, 1, P)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.astype(np.uint8).tobytes())


def write_cifar(folder):
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        images = RANDOM.integers(0, 256, (10, 3, 32, 32), np.uint8)
        write_batch(folder / name, images, np.arange(10))


CNN = {
    "class_path": "SmallConvNet",
    "init_args": {"sample_shape": [1, 28, 28], "channels": [2, 4], "replicas": 2},
}
JAMMING = """
class_path: OnSphere
init_args:
  data:
    class_path: PrincipalComponents
    init_args:
      components: 5
      data:
        class_path: Subset
        init_args:
          samples: 40
          class_fractions: equal
          data: {class_path: Parity, init_args: {data: {class_path: MNIST}}}
"""
IMBALANCED = """
class_path: RandomLabels
init_args:
  fraction: 0.1
  data:
    class_path: Subset
    init_args:
      samples: 10
      class_fractions: [0.8, 0.2]
      data:
        class_path: GroupedClasses
        init_args: {groups: [[0, 1], [7]], data: {class_path: Digits}}
"""


def resnet(normalization):
    return {
        "class_path": "ResNet18",
        "init_args": {
            "width": 2, "normalization": normalization, "samples_together": 8, "replicas": 2,
        },
    }  # fmt: skip


def wide(d):
    return {
        "class_path": "FullyConnected",
        "init_args": {"widths": [d, 8, 1], "replicas": 2, "initialization": "orthogonal"},
    }


def fit(data, architecture, loss):
    """Write the images and a configuration into the working folder, run it; return its record."""
    write_mnist(Path("datasets/mnist"))
    write_cifar(Path("datasets/cifar10"))
    energy = {"architecture": architecture, "data": data, "loss": loss}
    config = {
        "experiment": "images",
        "model": {
            "energy": {"class_path": "NetworkEnergy", "init_args": energy},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}},
            "batches": {"batch_size": 8},
        },
        "trainer": {
            "max_steps": 4,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "callbacks": [
                {"class_path": "EnergyRelaxation", "init_args": {"first": 0.01, "last": 0.04}},
            ],
        },
    }
    Path("images.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "images.yaml"]) == 0
    record = records.read(Path("logs/images/version_0/probes/energy_relaxation.nc"))
    assert record.sizes["replica"] == 2 and record["energy"].notnull().all()
    return record


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    "data, architecture, loss",
    [
        ({"class_path": "MNIST"}, CNN, "cross_entropy"),
        ({"class_path": "CIFAR10"}, resnet("group"), "cross_entropy"),
        (yaml.safe_load(JAMMING), wide(5), "quadratic_hinge"),
        (yaml.safe_load(IMBALANCED), wide(64), "cross_entropy"),
    ],
    ids=["mnist", "cifar group", "jamming", "imbalanced"],
)
def test_fit_from_a_configuration(data, architecture, loss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(data, architecture, loss)


@pytest.mark.usefixtures("no_figures")
def test_the_configuration_that_a_run_keeps_makes_the_same_run_again(tmp_path, monkeypatch):
    """With batch normalisation, which has a state."""
    monkeypatch.chdir(tmp_path)
    record = fit({"class_path": "CIFAR10"}, resnet("batch"), "cross_entropy")
    assert main(["fit", "--config", "logs/images/version_0/config.yaml"]) == 0
    again = records.read(Path("logs/images/version_1/probes/energy_relaxation.nc"))
    xarray.testing.assert_identical(record.drop_attrs(), again.drop_attrs())


def test_missing_files_are_one_sentence(tmp_path, monkeypatch, capsys):
    import sklearn.datasets

    def no_network(**request):
        raise ConnectionError("no route")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", no_network)
    monkeypatch.chdir(tmp_path)
    energy = {"architecture": CNN, "data": {"class_path": "MNIST"}}
    model = {"energy": {"class_path": "NetworkEnergy", "init_args": energy}}
    config = {"experiment": "images", "model": model, "trainer": {"max_steps": 4}}
    Path("images.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "images.yaml"]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert "datasets/mnist: holds none of train-images-idx3-ubyte" in sentence
    assert "put the original files there" in sentence
