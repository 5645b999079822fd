"""Learning curves of a random hierarchy: networks, and kernel regression by another route."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.linalg import solve

from lightning_landscape import records
from lightning_landscape.data import RandomHierarchy
from lightning_landscape.dynamics import LayerRates
from lightning_landscape.energies import FullyConnected, HierarchicalConvNet
from lightning_landscape.errors import UsageError
from lightning_landscape.studies import Experiment, Processes
from lightning_landscape.studies.ensembles import LearningCurve
from lightning_landscape.studies.ensembles.learning_curve import (
    KERNEL,
    _error_of_kernel,
    hierarchy_kernel,
)
from lightning_landscape.theory.wide_networks import Layer, input_kernel, kernels

ADAM = partial(torch.optim.Adam, lr=0.003)
NETWORKS = {
    "convolutional": partial(HierarchicalConvNet, 3, 8, 8),
    "fully connected": partial(FullyConnected, [64, 256, 256, 256, 8]),
}


def errors(loads, **options):
    """The mean test error by learner and load."""
    study = LearningCurve(NETWORKS, ADAM, loads, **options)
    found, recorded = {}, []
    while (each := study.next(recorded)) is not None:
        new = [study._learners.run(each, seed) for seed in range(study.seeds)]
        recorded += new
        name, P = each.point
        found[name, P / study.characteristic_size] = np.mean([result["error"] for result in new])
    return found, recorded


def test_the_kernel_is_that_of_all_samples():
    """Looked up by the number of common leaves, and computed for the inputs themselves."""
    data = RandomHierarchy(v=4, m=2, L=2, n_c=3, samples=6, test_samples=4)
    x = torch.cat([data.inputs, data.test_inputs]).flatten(1).double().numpy()
    layer = Layer.critical("relu")
    expected = kernels(layer, input_kernel(layer, x), 3).tangent[-1]
    np.testing.assert_allclose(hierarchy_kernel(data, 3), expected, rtol=1e-6)
    y = np.eye(3)[data.targets] - 1 / 3
    answers = expected[6:, :6] @ solve(expected[:6, :6], y)
    error = np.mean(answers.argmax(1) != data.test_targets.numpy())
    assert _error_of_kernel(data, 3) == pytest.approx(error)


def test_a_deep_network_sees_the_hierarchy_and_a_kernel_does_not():
    """At 4 P* of v = 8, m = 4, L = 3; and the outputs ignore the synonyms of the lowest level."""
    found, recorded = errors(
        {"convolutional": [4], KERNEL: [4]}, seeds=1, test_samples=512, until=5e-3, steps=300
    )
    assert found["convolutional", 4] < 0.2
    assert found[KERNEL, 4] > 0.45
    lowest, _, highest = recorded[0]["sensitivity"]
    assert lowest < 0.2 < highest
    assert np.isnan(recorded[1]["sensitivity"]).all()


@pytest.mark.slow
def test_the_learning_curves():
    found, _ = errors({"convolutional": [1, 4, 8], "fully connected": [8], KERNEL: [4]}, seeds=2)
    assert found["convolutional", 1] > 0.4
    assert found["convolutional", 4] < 0.2
    assert found["convolutional", 8] < 0.03
    assert found["fully connected", 8] > 0.3
    assert found[KERNEL, 4] > 0.45


def test_the_record(tmp_path):
    """Names and sensitivities survive the file, and a study that is complete does nothing."""
    networks = {"convolutional": partial(HierarchicalConvNet, 2, 4, 3, width=8)}
    options = {"v": 4, "m": 2, "L": 2, "n_c": 3, "steps": 20, "test_samples": 8, "seeds": 2}
    study = LearningCurve(networks, ADAM, {"convolutional": [0.5], KERNEL: [0.5, 1]}, **options)
    lines = []
    for _ in range(2):
        experiment = Experiment(study, Processes(1))
        experiment.run(tmp_path / "record.nc", {"config": ""}, lines.append)
    assert len(lines) == 3 and lines[0].startswith("convolutional, P = 6 = 0.5 P*: error 0.")
    record = records.read(tmp_path / "record.nc")
    assert [str(name) for name in record["learner"].to_numpy()] == ["convolutional"] * 2 + [
        KERNEL
    ] * 4
    assert record["sensitivity"].shape == (6, 2)
    assert study.next(experiment.recorded) is None


def test_misuse():
    with pytest.raises(UsageError, match=r"loads = .*'transformer'.*must be of convolutional"):
        LearningCurve(NETWORKS, ADAM, {"transformer": [1]})
    with pytest.raises(UsageError, match="loads = 300: must leave 2048 of the 131072"):
        LearningCurve(NETWORKS, ADAM, {KERNEL: [300]})
    with pytest.raises(UsageError, match="seeds = 0"):
        LearningCurve(NETWORKS, LayerRates(ADAM), {KERNEL: [1]}, seeds=0)
