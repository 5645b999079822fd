import pytest
import pytorch_lightning as pl
import torch

from lightning_landscape.data.batches import Batches
from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews
from lightning_landscape.energies import Quadratic, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer

DYNAMICS = {
    "langevin": lambda params: Langevin(params, lr=0.05, temperature=0.3, seed=2),
    "second order": lambda params: LeimkuhlerMatthews(params, lr=0.05, temperature=0.3, seed=2),
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=0.05),
}


def glass():
    return SphericalPSpin(N=16, p=3, replicas=4, seed=0)


def fit(module, steps, folder, callbacks=(), ckpt_path=None, **settings):
    trainer = bare_trainer(list(callbacks), steps, folder, **settings)
    trainer.fit(module, ckpt_path=ckpt_path)
    return trainer


class EventsAt(pl.Callback):
    def __init__(self, *steps):
        self.steps, self.seen = steps, []

    def next_event(self, step):
        return next((event for event in self.steps if event > step), None)

    def on_train_batch_end(self, trainer, *_):
        self.seen.append(trainer.global_step)


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_fit_is_the_bare_loop(name, tmp_path):
    from lightning_landscape.dynamics import constrain

    energy = glass()
    loop = constrain(DYNAMICS[name](energy.parameters()), energy.constraint)
    for _ in range(50):
        loop.zero_grad()
        energy().sum().backward()
        loop.step()
    module = LandscapeModule(glass(), DYNAMICS[name], block_size=7)
    fit(module, 50, tmp_path)
    assert torch.equal(module.energy.x, energy.x)


@pytest.mark.parametrize("name", DYNAMICS)
def test_a_run_resumes_bit_for_bit_from_any_step(name, tmp_path):
    whole = LandscapeModule(glass(), DYNAMICS[name])
    fit(whole, 40, tmp_path)
    for k in (1, 13, 39):
        first = fit(LandscapeModule(glass(), DYNAMICS[name], block_size=5), k, tmp_path)
        first.save_checkpoint(tmp_path / "k.ckpt")
        second = LandscapeModule(glass(), DYNAMICS[name], block_size=11)
        trainer = fit(second, 40, tmp_path, ckpt_path=tmp_path / "k.ckpt")
        assert trainer.global_step == 40
        assert torch.equal(second.energy.x, whole.energy.x), k


def test_blocks_end_at_events_and_at_the_last_step(tmp_path):
    events = EventsAt(3, 12)
    fit(LandscapeModule(glass(), block_size=10), 25, tmp_path, [events])
    assert events.seen == [3, 10, 12, 20, 25]


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
def test_blocks_end_where_a_model_checkpoint_is_due(tmp_path):
    events = EventsAt()
    saved = pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=8, save_top_k=-1)
    module = LandscapeModule(glass(), block_size=10)
    fit(module, 20, tmp_path, [events, saved], enable_checkpointing=True)
    assert events.seen == [8, 10, 16, 20]
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {
        "epoch=0-step=8.ckpt",
        "epoch=0-step=16.ckpt",
    }


def test_checkpoints_hold_the_configuration_and_no_couplings(tmp_path):
    trainer = fit(LandscapeModule(glass(), DYNAMICS["langevin"]), 3, tmp_path)
    trainer.save_checkpoint(tmp_path / "small.ckpt")
    assert (tmp_path / "small.ckpt").stat().st_size < 10_000


def test_time_is_the_step_size_times_the_steps():
    assert LandscapeModule(glass(), DYNAMICS["langevin"]).time_step == 0.05
    different = LandscapeModule(glass(), lambda p: Langevin(p, lr=[0.1, 0.2, 0.3, 0.4]))
    assert different.time_step == 1


def test_a_diverging_replica_is_named_with_its_step(tmp_path):
    energy = Quadratic([1.0, 3.0], replicas=2)
    with torch.no_grad():
        energy.x[0] = 0  # replica 0 sits at the minimum, replica 1 diverges: |1 - 3 lr| = 2
    module = LandscapeModule(energy, lambda params: torch.optim.SGD(params, lr=1.0))
    with pytest.raises(UsageError, match=r"replica 1 is inf at step 6\d; lower .* lr = 1"):
        fit(module, 1000, tmp_path)


def test_a_run_without_an_end_is_refused(tmp_path):
    with pytest.raises(UsageError, match="max_steps = -1: the run would never end"):
        fit(LandscapeModule(glass()), -1, tmp_path, max_epochs=-1)


def test_weight_decay_on_the_sphere_is_refused():
    with pytest.raises(UsageError, match="weight_decay"):
        LandscapeModule(glass(), lambda params: torch.optim.SGD(params, lr=0.1, weight_decay=0.1))


def test_validate_logs_the_energy_of_a_glass():
    trainer = pl.Trainer(
        logger=False, enable_progress_bar=False, accelerator="cpu", enable_checkpointing=False
    )
    module = LandscapeModule(glass())
    (metrics,) = trainer.validate(module, verbose=False)
    assert metrics["val/energy"] == pytest.approx(module.energy().mean().item())


class SaveEach(pl.Callback):
    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, pl_module):
        torch.save(pl_module.energy.configuration(), self.folder / f"rank{trainer.global_rank}.pt")


def network(replicas=2):
    from lightning_landscape.data import Digits
    from lightning_landscape.energies import FullyConnected, NetworkEnergy

    return NetworkEnergy(FullyConnected([64, 16, 10], replicas=replicas, seed=1), Digits())


def minibatch_langevin(params):
    return Langevin(params, lr=0.1, temperature=1e-4, seed=5)


def test_ranks_on_shards_follow_the_process_with_the_whole_batch(tmp_path):
    """DDP on half batches, Langevin noise included, against one process on the union batch."""
    one = LandscapeModule(network(), minibatch_langevin, Batches(batch_size=32, seed=3))
    fit(one, 40, tmp_path)
    fit(
        LandscapeModule(network(), minibatch_langevin, Batches(batch_size=32, seed=3)),
        40,
        tmp_path,
        [SaveEach(tmp_path)],
        strategy="ddp_fork",
        devices=2,
    )
    ranks = [torch.load(tmp_path / f"rank{r}.pt") for r in (0, 1)]
    assert torch.equal(ranks[0], ranks[1])
    torch.testing.assert_close(ranks[0], one.energy.configuration(), rtol=1e-5, atol=1e-5)
    # the agreement is not that of runs that have not moved
    assert (one.energy.configuration() - network().configuration()).abs().max() > 0.05


def test_minibatch_runs_resume_bit_for_bit_in_the_middle_of_an_epoch(tmp_path):
    batches = Batches(batch_size=500, seed=3)  # two steps an epoch
    whole = LandscapeModule(network(), minibatch_langevin, batches)
    fit(whole, 9, tmp_path)
    first = fit(LandscapeModule(network(), minibatch_langevin, batches), 5, tmp_path)
    first.save_checkpoint(tmp_path / "5.ckpt")
    second = LandscapeModule(network(), minibatch_langevin, batches)
    fit(second, 9, tmp_path, ckpt_path=tmp_path / "5.ckpt")
    assert torch.equal(second.energy.configuration(), whole.energy.configuration())


def test_batches_without_data_are_refused():
    with pytest.raises(UsageError, match="SphericalPSpin has no data to draw from"):
        LandscapeModule(glass(), batches=Batches(batch_size=8))


def test_a_batch_larger_than_the_data_is_refused_before_the_first_step(tmp_path):
    module = LandscapeModule(network(), batches=Batches(batch_size=5000))
    with pytest.raises(UsageError, match="batch_size = 5000"):
        fit(module, 10, tmp_path)


def test_held_out_accuracy_is_logged(tmp_path):
    trainer = pl.Trainer(
        logger=False, enable_progress_bar=False, accelerator="cpu", enable_checkpointing=False
    )
    module = LandscapeModule(network())
    (metrics,) = trainer.test(module, verbose=False)
    accuracy = module.energy.evaluate("test")["accuracy"].mean().item()
    assert metrics["test/accuracy"] == pytest.approx(accuracy)
