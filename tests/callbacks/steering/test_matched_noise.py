"""MatchedNoise: what a run gets, when it gets it, and that it resumes bit for bit."""

import pytest
import pytorch_lightning as pl
import torch

from lightning_landscape.callbacks import GradientNoise, MatchedNoise
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.dynamics import Langevin, MatchedLangevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables import gradients_of
from lightning_landscape.testing.probe import bare_trainer

P, R, B, LR = 40, 3, 8, 0.1


def network(loss="cross_entropy", widths=(6, 8, 3), replicas=R, classes=3):
    net = FullyConnected(list(widths), "tanh", replicas=replicas, dtype="float64")
    return NetworkEnergy(net, RandomData(P, widths[0], classes=classes), loss)


def run(energy=None, dynamics=MatchedLangevin, batches=None):
    return LandscapeModule(energy or network(), lambda p: dynamics(p, lr=LR, seed=3), batches)


def fit(module, callbacks, steps, folder, **settings):
    resume = settings.pop("ckpt_path", None)
    trainer = bare_trainer(callbacks, steps, folder)
    trainer.fit(module, ckpt_path=resume)
    return trainer


def held(module):
    """The variances that the dynamics holds, (R, N)."""
    dynamics = module.dynamics
    return torch.cat(
        [dynamics.state[p]["variance"].flatten(1) for p in module.energy.parameters()], 1
    )


@pytest.mark.parametrize("noise", ["diagonal", "isotropic"])
def test_the_dynamics_gets_the_noise_at_the_stated_times(noise, tmp_path):
    """Until t = 1 that of the start, then that of the configuration at t = 1."""
    expected = {}

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            step = trainer.global_step
            expected[step] = held(pl_module), pl_module.energy.configuration()

    factor = (P - B) / (P * B)
    start = factor * gradients_of(network()).moments().variance
    matched = MatchedNoise(Batches(B), noise, first=1, last=1)
    module = run()
    module.block_size = 5
    fit(module, [Keep(), matched, Keep()], 20, tmp_path)
    middle = network()
    middle.load_configuration(expected[10][1])
    then = factor * gradients_of(middle).moments().variance
    if noise == "isotropic":
        start, then = (v.mean(1, keepdim=True).expand_as(v) for v in (start, then))
    torch.testing.assert_close(expected[5][0], start)
    for step in (10, 15, 20):
        torch.testing.assert_close(expected[step][0], then)
    T = module.temperature
    torch.testing.assert_close(T, LR * then.mean(1) / 2)


def test_a_run_resumes_bit_for_bit(tmp_path):
    """Stopped at step 7, between two measurements of the noise."""

    def noise():
        return MatchedNoise(Batches(B), first=0.5, last=2, per_decade=3)

    whole, part, resumed = run(), run(), run()
    fit(whole, [noise()], 20, tmp_path)
    fit(part, [noise()], 7, tmp_path).save_checkpoint(tmp_path / "at7.ckpt")
    fit(resumed, [noise()], 20, tmp_path, ckpt_path=tmp_path / "at7.ckpt")
    assert resumed.energy.configuration().equal(whole.energy.configuration())
    assert held(resumed).equal(held(whole))


@pytest.mark.slow
def test_it_is_measured_as_the_probe_measures_it(tmp_path):
    probe = GradientNoise(first=1, last=2, batches=Batches(B))
    module = run()
    fit(module, [MatchedNoise(Batches(B), first=1, last=2), probe], 20, tmp_path)
    torch.testing.assert_close(held(module).mean(1), probe.results["D"][-1])


def test_a_least_squares_fit_is_as_hot_as_under_sgd(tmp_path):
    """Linear regression: the excess energies of SGD and of both matched noises agree to O(lr).

    <E - E_min> = tr(H S) / 2 with H S + S H - lr H S H = lr C for SGD; the noise in H's own
    directions, C, has the diagonal D_i, and H is the identity within sampling.
    """
    means = {}
    for name in ("sgd", "diagonal", "isotropic"):
        energy = network("squared", (6, 1), replicas=200, classes=2)
        batches = Batches(2, seed=1, replacement=True)
        if name == "sgd":
            module = LandscapeModule(energy, lambda p: torch.optim.SGD(p, lr=0.05), batches)
            callbacks = []
        else:
            module = LandscapeModule(energy, lambda p: MatchedLangevin(p, lr=0.05, seed=2))
            callbacks = [MatchedNoise(batches, name, first=0.5, last=45, per_decade=20)]
        energies = []

        class Keep(pl.Callback):
            def on_train_batch_end(self, trainer, pl_module, *_, kept=energies):
                if trainer.global_step >= 400:
                    with torch.no_grad():
                        kept.append(pl_module.energy())

        module.block_size = 20
        fit(module, [*callbacks, Keep()], 900, tmp_path)
        x, y = energy.inputs, energy.targets[:, 0]
        x = torch.cat([x, torch.ones(P, 1)], 1).double()
        residual = y - x @ torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
        excess = torch.stack(energies).mean(0) - residual.square().mean() / 2
        means[name] = excess.mean().item(), (excess.std() / 200**0.5).item()
    for name in ("diagonal", "isotropic"):
        assert means[name][0] == pytest.approx(means["sgd"][0], rel=0.25)
        assert means[name][1] < 0.05 * means[name][0]


def test_what_cannot_be_matched_is_refused(tmp_path):
    noise = MatchedNoise(Batches(B))
    with pytest.raises(UsageError, match="optimizer = Langevin"):
        fit(run(dynamics=Langevin), [noise], 2, tmp_path)
    with pytest.raises(UsageError, match=r"model\.batches"):
        fit(run(batches=Batches(4)), [noise], 2, tmp_path)
    with pytest.raises(UsageError, match="batch_size = 8"):
        fit(run(Quadratic([1.0])), [noise], 2, tmp_path)
    with pytest.raises(UsageError, match="did you mean diagonal"):
        MatchedNoise(Batches(B), "diagnal")
    with pytest.raises(UsageError, match="samples = 1"):
        MatchedNoise(Batches(B), samples=1)
