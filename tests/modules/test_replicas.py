"""Replicas shared out among ranks: the run, its records and its checkpoints are those of one."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
import xarray

from lightning_landscape.callbacks import AgingCorrelation, EnergyRelaxation, LinearResponse
from lightning_landscape.data import Batches, Digits
from lightning_landscape.dynamics import (
    FIRE,
    Langevin,
    LeimkuhlerMatthews,
    MetropolisLangevin,
    ParallelTempering,
    TwoStarts,
    Underdamped,
    constrain,
)
from lightning_landscape.energies import (
    Copies,
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    SphericalPSpin,
    WithField,
    WithL2,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.modules.share import Share

GLASS = partial(SphericalPSpin, N=16, replicas=8, seed=3)
HOT = partial(Langevin, lr=0.02, temperature=0.3, seed=1)


def planted():
    return GLASS(disorder="independent", start_temperature=[0.8, 1.2])


def in_a_field():
    return WithField(GLASS(disorder="independent"), field=1e-3, waiting_times=[0, 0.1])


def network():
    return NetworkEnergy(FullyConnected([64, 8, 10], replicas=4, seed=1), Digits())


SYSTEMS = {
    "shared disorder": (GLASS, HOT),
    "a sample for each": (partial(GLASS, disorder="independent"), HOT),
    "planted, two temperatures": (planted, partial(HOT, temperature=[0.8, 1.2])),
    "a step size for each": (planted, partial(HOT, lr=[0.01, 0.02, 0.03, 0.04])),
    "a start from two sides": (GLASS, partial(HOT, temperature=TwoStarts([0.2, 0.5], 4, 0.3))),
    "twins": (in_a_field, HOT),
    "copies": (lambda: Copies(GLASS(disorder="independent")), HOT),
    "a ladder": (
        partial(Quadratic, [1.0, 3.0], replicas=6),
        partial(Langevin, lr=0.1, temperature=[0.1, 0.3, 0.9], exchange=ParallelTempering(2, 2)),
    ),
    "velocities": (GLASS, partial(Underdamped, lr=0.1, temperature=0.3)),
    "velocities on a ladder": (
        partial(Quadratic, [1.0, 3.0], replicas=4),
        partial(Underdamped, lr=0.1, temperature=[0.1, 0.9], exchange=ParallelTempering(2, 2)),
    ),
    "successive noise": (GLASS, partial(LeimkuhlerMatthews, lr=0.02, temperature=0.3)),
    "rejections": (
        partial(Quadratic, [1.0, 3.0], replicas=4),
        partial(MetropolisLangevin, lr=0.5, temperature=[0.2, 0.4]),
    ),
    "Adam": (network, partial(torch.optim.Adam, lr=0.01)),
    "a strength for each": (
        lambda: WithL2(network(), [0.0, 0.1, 0.2, 0.3]),
        partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    ),
    "a minimizer": (GLASS, partial(FIRE, lr=0.05)),
}


def moved(name, blocks=(3, 4, 1), shared=True):
    """Return configurations and energies after blocks of steps, on this rank's share or alone."""
    make_energy, make = SYSTEMS[name]
    energy = make_energy()
    dynamics = constrain(make(energy.parameters()), energy.constraint)
    if isinstance(dynamics, Langevin | Underdamped | LeimkuhlerMatthews):
        dynamics.twins = energy.twins
    share, step, collected = Share(energy, dynamics, make) if shared else None, 0, []
    for steps in blocks:
        if share:
            share.begin()
        system, mover = (share.energy, share.dynamics) if share else (energy, dynamics)
        values = []
        for step in range(step, step + steps):  # noqa: B020
            system.at(step, 0.02)

            def closure(system=system, mover=mover):
                mover.zero_grad()
                E = system()
                E.sum().backward()
                return E.detach()

            values.append(mover.step(closure))
        step += 1
        values = torch.stack(values)
        collected.append(share.end(values) if share else values)
    return energy.configuration(), torch.cat(collected), dynamics.state_dict()["state"]


def of_rank(rank, name):
    return moved(name)


@pytest.mark.parametrize("name", SYSTEMS)
def test_two_ranks_move_as_one_process(two_ranks, name):
    x, E, state = moved(name, shared=False)
    for x_rank, E_rank, state_rank in two_ranks(of_rank, name):
        assert x_rank.equal(x) and E_rank.equal(E)
        assert_same(state_rank, state)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_same(value, other[key])
        elif isinstance(value, torch.Tensor):
            assert value.equal(other[key]), key
        else:
            assert value == other[key], key


def refused(rank, name, replicas):
    make_energy, make = SYSTEMS[name]
    energy = make_energy(replicas=replicas)
    Share(energy, make(energy.parameters()), make)


def test_fewer_ladders_than_ranks_are_refused(two_ranks):
    with pytest.raises(AssertionError, match="devices = 2: must be at most the 1 replicas"):
        two_ranks(refused, "shared disorder", 1)


def test_copies_stay_together():
    energy = in_a_field()
    some = energy.only(torch.tensor([1, 9, 17, 25]))
    assert some().equal(energy()[[1, 9, 17, 25]])
    with pytest.raises(UsageError, match="the copies of a replica stay together"):
        energy.only(torch.tensor([1, 9]))


# with Lightning


def fit(module, steps, folder, callbacks=(), devices=1, **options):
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        strategy="replicas_fork" if devices > 1 else "auto",
        devices=devices,
        logger=pl.loggers.CSVLogger(folder, name="run", version=0),
        callbacks=[*callbacks, Saved(folder)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, **options)
    return torch.load(folder / "end.ckpt")


class Saved(pl.Callback):
    def __init__(self, folder):
        self.path = folder / "end.ckpt"

    def on_train_end(self, trainer, pl_module):
        trainer.save_checkpoint(self.path)


def glass_module():
    return LandscapeModule(GLASS(disorder="independent"), HOT, block_size=7)


def probes():
    return [
        AgingCorrelation([0, 0.1]),
        EnergyRelaxation(first=0.1, last=0.6, per_decade=5),
        LinearResponse([0, 0.1]),
    ]


def test_records_and_checkpoints_of_two_ranks_are_those_of_one(tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for devices, folder in enumerate(folders, start=1):
        fit(glass_module(), 30, folder, probes(), devices=devices)
    one, two = (torch.load(folder / "end.ckpt") for folder in folders)
    assert_same(two["state_dict"], one["state_dict"])
    assert_same(two["optimizer_states"][0]["state"], one["optimizer_states"][0]["state"])
    written = list((folders[0] / "run" / "version_0" / "probes").glob("*.nc"))
    assert len(written) == 3
    for path in written:
        first = xarray.load_dataset(path)
        second = xarray.load_dataset(folders[1] / path.relative_to(folders[0]))
        xarray.testing.assert_identical(first.drop_attrs(), second.drop_attrs())


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path):
    whole = fit(glass_module(), 30, tmp_path / "whole")
    fit(glass_module(), 10, tmp_path / "two", devices=2)
    fit(glass_module(), 20, tmp_path / "one", ckpt_path=tmp_path / "two" / "end.ckpt")
    last = fit(
        glass_module(), 30, tmp_path / "last", devices=2, ckpt_path=tmp_path / "one" / "end.ckpt"
    )
    assert_same(last["state_dict"], whole["state_dict"])


def test_replicas_on_mini_batches_see_those_of_one_process(tmp_path):
    def module():
        return LandscapeModule(network(), partial(torch.optim.SGD, lr=0.1), Batches(50, seed=2))

    one = fit(module(), 40, tmp_path / "one")
    two = fit(module(), 40, tmp_path / "two", devices=2)
    assert_same(two["state_dict"], one["state_dict"])


def one_network():
    options = {"replicas": 1, "seed": 1, "dtype": "float64"}
    return NetworkEnergy(FullyConnected([64, 8, 10], **options), Digits())


ONE_REPLICA = {
    "Langevin": (one_network, partial(Langevin, lr=0.1, temperature=1e-4)),
    "rejections": (one_network, partial(MetropolisLangevin, lr=0.1, temperature=1e-3)),
    "a strength": (lambda: WithL2(one_network(), [0.1]), partial(FIRE, lr=0.05)),
}


@pytest.mark.parametrize("batches", [None, Batches(50, seed=2)], ids=["all data", "mini-batches"])
@pytest.mark.parametrize("name", ONE_REPLICA)
def test_ranks_share_out_the_data_of_one_replica(tmp_path, name, batches):
    if name == "rejections" and batches is not None:
        pytest.skip("it accepts by the whole energy")
    make_energy, make = ONE_REPLICA[name]
    one, two = (
        fit(
            LandscapeModule(make_energy(), make, batches),
            20,
            tmp_path / str(devices),
            devices=devices,
        )
        for devices in (1, 2)
    )
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(two["state_dict"][key], value, rtol=1e-9, atol=1e-11)


def test_processes_that_would_all_do_the_same_are_refused(tmp_path):
    trainer = pl.Trainer(
        max_steps=3,
        accelerator="cpu",
        strategy="ddp_fork",
        devices=2,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    with pytest.raises(Exception, match=r"give --trainer\.strategy replicas"):
        trainer.fit(glass_module())
