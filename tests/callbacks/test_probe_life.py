"""The life of a probe: a foreign run is never ended, and every run has a record of its own."""

from pathlib import Path
from typing import ClassVar

import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_landscape import records
from lightning_landscape.callbacks import (
    AgingCorrelation,
    EnergyRelaxation,
    FieldResponse,
    GradientNoise,
    HessianSpectrum,
    LearningCoefficient,
    Probe,
    Stationarity,
)
from lightning_landscape.callbacks.times import Times
from lightning_landscape.energies import Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.foreign import FORMS
from lightning_landscape.testing.memories import MEMORIES
from lightning_landscape.testing.probe import TwoOptimizers, bare_trainer, last_record, train

Tiny = FORMS["no index"].__mro__[1]


class Breaks(Probe):
    """Breaks in one phase."""

    dims: ClassVar[dict[str, tuple[str, ...]]] = {"one": ("t", "replica")}

    def __init__(self, phase, error=ZeroDivisionError, **options):
        super().__init__(Times.at([0, 1, 2, 3]), None, **options)
        self.phase, self.error = phase, error

    def _break(self, phase):
        if self.phase == phase:
            raise self.error("no\nluck")

    def describe(self, view):
        self._break("describe")
        return super().describe(view)

    def afford(self, steps, view, end):
        self._break("afford")
        return steps

    def prepare(self, view):
        self._break("prepare")
        self.start(view, "one")
        return "nothing"

    def measure(self, view, due):
        self.append(view, {"one": torch.ones(1, dtype=torch.float64)})
        if view.step == 2:
            self._break("measure")
        return {"one": 1.0}

    def write(self, trainer, final=False):
        if final:
            self._break("write")
        super().write(trainer, final)


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize("phase", ["describe", "afford", "prepare", "measure", "write"])
def test_what_breaks_is_said_once_and_the_run_goes_on(phase, tmp_path, caplog):
    probe = Breaks(phase)
    assert train(Tiny(), tmp_path, [probe], max_epochs=1).global_step == 8
    assert not probe.active
    (sentence,) = said(caplog)
    step = {"measure": 2, "write": 8}.get(phase, 0)
    start = f"breaks: switched off at step {step}, and the run goes on: ZeroDivisionError: no luck;"
    assert sentence.startswith(start)
    assert "loss_fn" in sentence and "strict=True" in sentence
    if phase == "measure":
        record = last_record(tmp_path, "breaks")
        assert record["t"].values.tolist() == [0, 1, 2]


def test_strict_raises(tmp_path):
    with pytest.raises(ZeroDivisionError):
        train(Tiny(), tmp_path, [Breaks("measure", strict=True)], max_epochs=1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_a_failure(error, tmp_path):
    probe = Breaks("measure", error)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(Tiny(), tmp_path, [probe], max_epochs=1)
    assert probe.active


def ours():
    return LandscapeModule(Quadratic([1.0, 2.0]), lambda p: torch.optim.SGD(p, lr=1.0))


def test_in_a_run_of_ours_misuse_is_raised_and_anything_else_is_not(tmp_path):
    with pytest.raises(UsageError, match="no"):
        bare_trainer([Breaks("measure", UsageError)], 4, tmp_path).fit(ours())
    probe = Breaks("measure")
    bare_trainer([probe], 4, tmp_path).fit(ours())
    assert not probe.active


def test_a_step_without_a_loss_is_left_out_and_said_once(tmp_path, caplog):
    probe = EnergyRelaxation(last=8, per_decade=4)
    train(FORMS["None"](), tmp_path, [probe], max_epochs=1)
    assert probe.results["step"].tolist() == [2, 8]  # the batches 0, 2, 4, … are skipped
    assert probe.active
    (sentence,) = said(caplog)
    assert "returned no loss for batch 0; such times are left out" in sentence


def test_names_make_records_scalars_and_states_unique(tmp_path):
    probes = [EnergyRelaxation(last=k) for k in (2, 3, 4)] + [EnergyRelaxation(last=5, name="E")]
    logger = pl.loggers.CSVLogger(tmp_path)
    train(Tiny(), tmp_path, probes, max_epochs=1, logger=logger)
    names = ["energy_relaxation", "energy_relaxation_2", "energy_relaxation_3", "E"]
    assert [probe.name for probe in probes] == names
    for name, last in zip(names, (2, 3, 4, 5), strict=True):
        record = records.read(f"{logger.log_dir}/probes/{name}.nc")
        assert record["t"].values[-1] == last
    logged = Path(logger.log_dir, "metrics.csv").read_text().splitlines()[0].split(",")
    assert {f"{name}/energy" for name in names} <= set(logged)
    assert len({probe.state_key for probe in probes}) == 4
    assert probes[3].state_key == "EnergyRelaxation[E]"
    with pytest.raises(UsageError, match="name = a/b"):
        EnergyRelaxation(name="a/b")


def test_a_yaml_configuration_resolves_the_options_of_the_base():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--probes", type=list[Probe])
    there = "lightning_landscape.callbacks."
    given = [
        {"class_path": there + kind, "init_args": {"name": "mine", "strict": True, **more}}
        for kind, more in {
            "EnergyRelaxation": {"last": 3},
            "FieldResponse": {"per_decade": 2},
            "HessianSpectrum": {"k": 2},
            "Stationarity": {"sigmas": 2.0},
        }.items()
    ]
    made = parser.instantiate_classes(parser.parse_object({"probes": given})).probes
    kinds = [EnergyRelaxation, FieldResponse, HessianSpectrum, Stationarity]
    assert [type(probe) for probe in made] == kinds
    assert all(probe.name == "mine" and probe.strict for probe in made)


def test_every_run_has_a_folder_and_a_last_line(tmp_path, caplog):
    probe = EnergyRelaxation(last=5)
    for k in range(2):
        caplog.clear()
        caplog.set_level("INFO")
        for package in ("lightning.pytorch", "pytorch_lightning"):  # the command line hushes them
            caplog.set_level("INFO", f"{package}.utilities.rank_zero")
        train(Tiny(), tmp_path, [probe, AgingCorrelation([1], last=3)], max_epochs=1)
        path = tmp_path / f"landscape_logs/version_{k}/probes/energy_relaxation.nc"
        assert path.is_file()
        assert (path.parent / "aging_correlation.nc").is_file()
        assert f"% of the run; record in {path}" in caplog.text


def test_a_second_run_starts_anew_and_the_same_trainer_goes_on(tmp_path):
    probe, fresh = (EnergyRelaxation(last=30, per_decade=4) for _ in range(2))
    trainer = train(Tiny(), tmp_path, [probe], max_epochs=1)
    first = probe.results["energy"].clone()
    loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.zeros(64).long()), 8)
    trainer.fit_loop.max_epochs = 2
    trainer.fit(trainer.lightning_module, loader)
    assert len(probe.results["energy"]) > len(first)
    assert probe.results["energy"][: len(first)].equal(first)
    module = Tiny()
    module.net.weight.data.mul_(2)
    train(module, tmp_path, [probe, fresh_named(fresh)], max_epochs=1)
    assert probe.results["energy"].equal(fresh.results["energy"])
    assert not probe.results["energy"][: len(first)].equal(first)


def fresh_named(probe):
    probe._name = "fresh"
    return probe


def test_what_was_before_a_probe_came_is_missing(tmp_path, caplog):
    trainer = train(Tiny(), tmp_path, [], max_epochs=2)
    trainer.save_checkpoint(tmp_path / "at16.ckpt")
    aging, energy = AgingCorrelation([1, 20], last=20, per_decade=3), EnergyRelaxation(last=24)
    resumed = bare_trainer([aging, energy], -1, tmp_path, max_epochs=3)
    loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.zeros(64).long()), 8)
    resumed.fit(Tiny(), loader, ckpt_path=tmp_path / "at16.ckpt", weights_only=False)
    record = aging.dataset()
    assert record["MSD"].sel(tw=1).isnull().all()
    assert record["MSD"].sel(tw=20, t=[1, 2, 4]).notnull().all()
    assert energy.results["step"].tolist() == [19, 24]
    assert [sentence.split(";")[0] for sentence in said(caplog) if "joins" in sentence] == [
        f"{probe.name}: it joins the run at step 16" for probe in (aging, energy)
    ]


@pytest.mark.filterwarnings("ignore:Be aware that when using")
@pytest.mark.parametrize("name", [None, "mine"])
def test_settings_changed_on_resume_are_told_at_the_start(name, tmp_path, caplog):
    trainer = train(Tiny(), tmp_path, [EnergyRelaxation(last=5, name=name)], max_epochs=1)
    trainer.save_checkpoint(tmp_path / "at8.ckpt")
    loader = DataLoader(TensorDataset(torch.randn(64, 8), torch.zeros(64).long()), 8)

    def resume(**options):
        probe = EnergyRelaxation(last=16, name=name, **options)
        resumed = bare_trainer([probe], -1, tmp_path, max_epochs=2)
        resumed.fit(Tiny(), loader, ckpt_path=tmp_path / "at8.ckpt", weights_only=False)
        return probe

    caplog.clear()
    probe = resume()
    assert probe.results["step"].tolist() == [8, 10, 13, 16]
    assert any("settings have changed on resume: times" in sentence for sentence in said(caplog))
    with pytest.raises(UsageError, match="settings have changed on resume: times"):
        resume(strict=True)


def test_two_optimizers_of_a_module_make_one_step_of_time(tmp_path):
    aging = AgingCorrelation([1, 3], last=10, per_decade=5)
    stationarity = Stationarity(last=20)
    seen = {}

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            x = [p.detach().flatten() for p in module.parameters()]
            seen[len(seen) + 1] = torch.cat(x).double()

    train(TwoOptimizers(), tmp_path, [aging, stationarity, Watch()])
    record = aging.dataset()
    for tw in (1, 3):
        for t in record["t"].values.astype(int):
            right = (seen[tw + t] - seen[tw]).square().mean().item()
            assert record["MSD"].sel(tw=tw, t=t).item() == pytest.approx(right, rel=1e-5)
    assert stationarity.results["step"].tolist() == list(range(21))


def test_several_steps_of_a_batch_leave_no_pair_and_are_said(tmp_path, caplog):
    class Thrice(TwoOptimizers):
        def training_step(self, batch, batch_idx):
            for _ in range(3):
                super().training_step(batch, batch_idx)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.05)

        def optimizers(self):
            return [super().optimizers()]

    probe = Stationarity(last=20)
    train(Thrice(), tmp_path, [probe], max_epochs=1)
    assert not len(probe.results["step"])
    assert "no two configurations one optimizer step apart" in caplog.text


def test_what_a_hook_makes_is_missing_at_time_0_only(tmp_path, caplog):
    """Callbacks come before the module's own hooks."""

    class Warmed(Tiny):
        def on_train_batch_start(self, batch, batch_idx):
            self.factor = 1.0

        def training_step(self, batch, batch_idx):
            return self.loss(batch) * self.factor

    probe = EnergyRelaxation(last=3)
    train(Warmed(), tmp_path, [probe], max_epochs=1)
    assert probe.active and probe.results["step"].tolist() == [1, 2, 3]
    assert "has no attribute 'factor'; such times are left out" in caplog.text


def test_sparse_gradients_are_measured_like_dense_ones(tmp_path):
    class OfTable(Tiny):
        def __init__(self, sparse):
            super().__init__()
            self.table = torch.nn.Embedding(9, 8, sparse=sparse)

        def loss(self, batch):
            return self.net(self.table((batch[0].abs() * 3).long().clamp(max=8))).square().mean()

    found = []
    for sparse in (False, True):
        probes = [
            HessianSpectrum(k=1, last=1, max_share=float("inf")),
            GradientNoise(last=1),
            LearningCoefficient(lr=1e-3, steps=3, burn_in=0, temperature=0.1, last=1),
        ]
        train(OfTable(sparse), tmp_path, probes, max_epochs=1)
        names = ("highest", "D", "learning_coefficient")
        found.append([p.results[name] for p, name in zip(probes, names, strict=True)])
    for dense, sparse in zip(*found, strict=True):
        torch.testing.assert_close(dense, sparse, rtol=1e-4, atol=1e-7)


def test_the_budget_holds_without_a_length(tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(TensorDataset(torch.ones(512, 8), torch.zeros(512).long()))

    settings = {"last": 60, "k": 1, "random_vectors": 2, "steps": 2, "max_products": 4}
    steps = []
    for data in (TensorDataset(torch.ones(512, 8), torch.zeros(512).long()), Stream()):
        probe = HessianSpectrum(**settings, dense_up_to=0, max_share=0.4)
        bare_trainer([probe], -1, tmp_path, max_epochs=1).fit(Tiny(), DataLoader(data, 8))
        steps.append(probe.results["step"].tolist())
    assert steps[0] == steps[1]
    assert 1 <= len(steps[0]) < 5


@pytest.mark.parametrize("memory", MEMORIES)
def test_each_side_effect_of_a_step_is_put_back(memory, tmp_path):
    """Alone; the contract of every probe has most of them in one step."""
    times = {"first": 2, "last": 6, "per_decade": 3}
    ends = []
    for probes in ([], [EnergyRelaxation(**times), GradientNoise(**times, groups=2)]):
        module = MEMORIES[memory]()
        train(module, tmp_path, probes, max_epochs=1)
        ends.append({name: value.clone() for name, value in module.state_dict().items()})
    assert all(value.equal(ends[1][name]) for name, value in ends[0].items())
