"""The probe SynonymInvariance: the sensitivities of the observables, at the times of a run."""

from functools import partial

import numpy as np
import pytest
import torch

from lightning_landscape.callbacks import SynonymInvariance
from lightning_landscape.data import RandomHierarchy
from lightning_landscape.energies import (
    FullyConnected,
    HierarchicalConvNet,
    NetworkEnergy,
    Quadratic,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables import synonym_sensitivity
from lightning_landscape.results.figures import draw
from lightning_landscape.results.summary import rows
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)

SIZES = {"v": 4, "m": 2, "L": 2, "n_c": 3}


def outputs(module, x):
    return module.net(x.flatten(1))


def run_of(net, optimizer=torch.optim.SGD, **options):
    data = RandomHierarchy(**SIZES, samples=16, test_samples=8, **options)
    return LandscapeModule(NetworkEnergy(net, data), partial(optimizer, lr=0.05))


class TestContract(ProbeContract):
    def make(self):
        sizes = {"v": 2, "m": 2, "L": 2, "n_c": 2}
        return SynonymInvariance(last=15, samples=8, output_fn=outputs, **sizes)

    def landscape(self):
        data = RandomHierarchy(v=2, m=2, L=2, n_c=2, samples=8, test_samples=4)
        net = HierarchicalConvNet(2, 2, 2, width=5, replicas=4)
        return LandscapeModule(NetworkEnergy(net, data), partial(torch.optim.SGD, lr=0.05))


def fit(module, folder, steps, **options):
    probe = SynonymInvariance(first=0.05, last=0.05 * steps, **(SIZES | options))
    bare_trainer([probe], steps, folder).fit(module)
    return last_record(folder, "synonym_invariance")


def test_all_layers_of_ours(tmp_path):
    net = HierarchicalConvNet(2, 4, 3, width=6, replicas=3, seed=2)
    module = run_of(net, seed=5)
    grammar = RandomHierarchy(**SIZES, samples=16, test_samples=8, seed=5).grammar
    parameters = [p.detach().clone() for p in net.parameters()]
    expected = synonym_sensitivity(
        lambda x: net.preactivations(parameters, x.unsqueeze(0)), grammar, grammar.held_out(20)
    )
    record = fit(module, tmp_path, 1, samples=20, seed=5)
    assert record["sensitivity"].shape == (2, 3, 2, 3)
    np.testing.assert_allclose(record["sensitivity"][0], expected.numpy(), rtol=1e-5)
    assert np.abs(record["sensitivity"][1] - record["sensitivity"][0]).max() > 1e-4


def test_training_makes_the_outputs_invariant(tmp_path):
    """On most of the data of a small grammar; and it is said and drawn."""
    net = FullyConnected([16, 64, 3], replicas=2)
    record = fit(run_of(net, torch.optim.Adam), tmp_path, 60, samples=24)
    table = {each.quantity: each for each in rows(record)}
    name = "sensitivity of the outputs to synonyms of level 1 (t = {})"
    assert table[name.format(3)].measured < 0.8 * table[name.format(0)].measured
    figure = draw(record)
    assert [axes.get_xlabel() for axes in figure.axes] == ["t", "layer"]


def test_of_foreign_modules(tmp_path):
    sizes = {"v": 2, "m": 2, "L": 2, "n_c": 2}
    probe = SynonymInvariance(last=3, samples=16, output_fn=outputs, **sizes)
    train(Classifier(), tmp_path, [probe], max_steps=3)
    assert probe.results["sensitivity"].shape[1:] == (1, 2, 1)
    assert bool((probe.results["sensitivity"] > 0).all())


def test_misuse(tmp_path):
    with pytest.raises(UsageError, match="m = 1"):
        SynonymInvariance(m=1)
    with pytest.raises(UsageError, match="samples = 100: must be at most 24"):
        SynonymInvariance(**SIZES, samples=100)
    energy = Quadratic(spectrum=[1.0, 2.0])
    module = LandscapeModule(energy, partial(torch.optim.SGD, lr=0.1))
    with pytest.raises(UsageError, match=r"shape of a sample = \(\): must be \(8, 8\)"):
        bare_trainer([SynonymInvariance()], 2, tmp_path).fit(module)
