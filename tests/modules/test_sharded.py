"""One network in parts, each on a rank (FSDP2): the run, its measurements and its checkpoints."""

import multiprocessing
import os
import signal
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed.fsdp  # before the ranks are forked
import xarray
from lightning_fabric.plugins.environments import LightningEnvironment
from pytorch_lightning.strategies import ModelParallelStrategy

from lightning_landscape import parallel
from lightning_landscape.callbacks import AgingCorrelation, EnergyRelaxation, HessianSpectrum
from lightning_landscape.callbacks.view import View
from lightning_landscape.cli.checkpoints import AtomicCheckpointIO, step_of
from lightning_landscape.data import Batches, Digits
from lightning_landscape.dynamics import FIRE, Langevin, Underdamped
from lightning_landscape.energies import FullyConnected, NetworkEnergy, SphericalPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule

HOT = partial(Langevin, lr=0.1, temperature=1e-4, seed=1)
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


class Outside(LightningEnvironment):
    """The ranks of the test are there already."""

    creates_processes_externally = True

    def global_rank(self):
        return parallel.rank()

    def local_rank(self):
        return parallel.rank()

    def world_size(self):
        return parallel.count()

    def set_global_rank(self, rank):
        pass

    def set_world_size(self, size):
        pass


def network(replicas=1):
    """Widths that two ranks divide, and one that they do not."""
    options = {"replicas": replicas, "seed": 1, "dtype": "float64"}
    return NetworkEnergy(FullyConnected([64, 16, 15, 10], **options), Digits())


def module(make=HOT, batches=None):
    return LandscapeModule(network(), make, batches, block_size=7)


def trainer(steps, folder, callbacks=(), sharded=True):
    return pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        strategy="sharded" if sharded else "auto",
        devices=parallel.count() if sharded else 1,
        plugins=[Outside()] if sharded else [AtomicCheckpointIO()],
        logger=pl.loggers.CSVLogger(folder, name="run", version=0),
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def probes():
    return [
        AgingCorrelation([0, 0.5], first=0.1, last=5),
        EnergyRelaxation(first=0.1, last=5, per_decade=5),
    ]


class HessianProduct(pl.Callback):
    """The product of the Hessian with one vector, as a probe sees it at the end."""

    def on_train_end(self, trainer, pl_module):
        view = View(pl_module, None, trainer.global_step)
        with view.measuring():
            with view.measuring():
                view.energy()
            H = view.hessian()
            v = torch.linspace(-1, 1, H.N).double().view(1, 1, -1)
            self.product = (H @ v).detach()


def run(folder, make, batches, steps=50, sharded=True, resume=None, save=None):
    """Return the final configuration and the product of its Hessian with a vector."""
    look, system = HessianProduct(), module(make, batches)
    fit = trainer(steps, folder, [*probes(), look], sharded)
    fit.fit(system, ckpt_path=resume)
    if save:
        fit.save_checkpoint(save)
    view = View(system, None, steps)
    return view.configuration(), look.product, view.part().numel()


def of_rank(rank, *args, **options):
    return run(*args, **options)


def records(folder):
    found = sorted((folder / "run" / "version_0" / "probes").glob("*.nc"))
    assert len(found) == 2
    return [xarray.load_dataset(path).drop_attrs() for path in found]


CASES = {"Langevin, all data": (HOT, None), "SGD, mini-batches": (SGD, Batches(50, seed=2))}


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_have_the_run_of_one_process(two_ranks, tmp_path, name):
    x, Hv, N = run(tmp_path / "one", *CASES[name], sharded=False)
    of_ranks = two_ranks(of_rank, tmp_path / "two", *CASES[name])
    for x_rank, Hv_rank, held in of_ranks:
        torch.testing.assert_close(x_rank, x, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(Hv_rank, Hv, rtol=1e-9, atol=1e-10)
        assert held < 0.65 * N
    assert sum(held for *_, held in of_ranks) == N
    for one, two in zip(records(tmp_path / "one"), records(tmp_path / "two"), strict=True):
        xarray.testing.assert_allclose(two, one, rtol=1e-8, atol=0)


def elastic(rank, folder):
    """Return what a run gives that is saved and resumed, and that of an uninterrupted one."""
    results = [run(folder / "whole", HOT, None)]
    run(folder / "some", HOT, None, steps=20, save=folder / "some.ckpt")
    results.append(run(folder / "on", HOT, None, resume=folder / "some.ckpt"))
    return [x for x, *_ in results]


def test_a_run_goes_on_from_a_folder_bit_for_bit(two_ranks, tmp_path):
    for whole, resumed in two_ranks(elastic, tmp_path):
        assert resumed.equal(whole)
    for whole, some in zip(records(tmp_path / "whole"), records(tmp_path / "on"), strict=True):
        xarray.testing.assert_identical(some, whole)
    assert step_of(tmp_path / "some.ckpt") == 20
    # and on one rank, which is killed while it writes the next checkpoint
    fork = multiprocessing.get_context("fork")
    alone = fork.Process(target=killed, args=(tmp_path,))
    alone.start()
    alone.join(60)
    assert alone.exitcode == -signal.SIGKILL
    assert step_of(tmp_path / "some.ckpt") == 20
    assert (tmp_path / "some.ckpt.part").exists()
    x, *_ = run(tmp_path / "one", HOT, None, steps=30, sharded=False)
    torch.testing.assert_close(torch.load(tmp_path / "x"), x, rtol=1e-10, atol=1e-12)


def killed(folder):
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    path = folder / "some.ckpt"
    x, *_ = run(folder / "alone", HOT, None, steps=30, resume=path)
    torch.save(x, folder / "x")

    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = die  # the parts are written, the rest is not
    run(folder / "again", HOT, None, steps=30, resume=path, save=path)


REFUSED = {
    "has 2 replicas to cut": (lambda: network(replicas=2), HOT),
    "SphericalPSpin is no mean over data": (lambda: SphericalPSpin(N=16), HOT),
    "FIRE needs whole parameters": (network, partial(FIRE, lr=0.1)),
    "optimizer = Underdamped: needs whole": (network, partial(Underdamped, lr=0.1)),
}


def refused(rank, folder, sentence):
    make_energy, make = REFUSED[sentence]
    with pytest.raises(UsageError, match=sentence):
        trainer(5, folder).fit(LandscapeModule(make_energy(), make))


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_cut_is_refused(two_ranks, tmp_path, sentence):
    two_ranks(refused, tmp_path, sentence)


def test_a_folder_needs_the_strategy(tmp_path):
    (tmp_path / "some.ckpt").mkdir()
    with pytest.raises(UsageError, match=r"cut among devices; give --trainer\.strategy sharded"):
        trainer(5, tmp_path, sharded=False).fit(module(), ckpt_path=tmp_path / "some.ckpt")


# a foreign project


class Foreign(pl.LightningModule):
    """It says itself how it is cut: FSDP2, its layers one by one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(8, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
        ).double()

    def configure_model(self):
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            mesh = self.device_mesh["data_parallel"]
            for layer in (self.net[0], self.net[2], self.net):
                torch.distributed.fsdp.fully_shard(layer, mesh=mesh)

    def training_step(self, batch, batch_idx):
        return self.net(batch[0]).square().mean()

    def configure_optimizers(self):
        return Langevin(self.net.parameters(), lr=0.1, temperature=1e-3, seed=2)

    def train_dataloader(self):
        x = torch.linspace(-1, 1, 32 * 8).double().view(32, 8)
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=32)


class Configuration(pl.Callback):
    def on_train_end(self, trainer, pl_module):
        self.x = View(pl_module, None, trainer.global_step).configuration()


def foreign(rank, folder, sharded=True):
    end = Configuration()
    aging = AgingCorrelation([0, 3], first=1, last=20)
    curved = HessianSpectrum(first=2, last=2, k=1, max_share=100)
    trainer(30, folder, [aging, curved, end], sharded).fit(Foreign())
    return end.x, curved.active


def test_a_foreign_project_that_is_cut_moves_and_ages_as_one_process(two_ranks, tmp_path):
    x, _ = foreign(0, tmp_path / "one", sharded=False)
    for x_rank, curved in two_ranks(foreign, tmp_path / "two"):
        torch.testing.assert_close(x_rank, x, rtol=1e-10, atol=1e-12)
        assert not curved  # it has said that derivatives cannot be measured
    folders = [tmp_path / name / "run" / "version_0" / "probes" for name in ("one", "two")]
    one, two = (xarray.load_dataset(f / "aging_correlation.nc").drop_attrs() for f in folders)
    xarray.testing.assert_allclose(two, one, rtol=1e-8, atol=0)
