"""ProbeContract: what every probe owes to the run that it measures."""

from __future__ import annotations

import os
import re
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import records
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.energies.quadratic import Quadratic
from lightning_landscape.modules.landscape import LandscapeModule
from lightning_landscape.testing.foreign import FORMS
from lightning_landscape.testing.memories import MEMORIES, TOGETHER

__all__ = [
    "Classifier",
    "LandscapeProbeContract",
    "ProbeContract",
    "TwoOptimizers",
    "bare_trainer",
    "last_record",
    "train",
]


def bare_trainer(callbacks: list[Any], max_steps: int, folder: Path, **trainer: Any) -> pl.Trainer:
    """Return a Trainer on the CPU that does these steps and runs these callbacks only."""
    return pl.Trainer(callbacks=callbacks, max_steps=max_steps, **(_quiet(folder) | trainer))


def _net() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 2)
    )


@cache
def _compiled_once() -> Any:
    """Return a compiled network, which serves all contracts: to compile takes seconds."""
    return torch.compile(_net(), backend="aot_eager")


def _compiled(net: nn.Module) -> Any:
    """Return the compiled network in the state of a new one."""
    compiled = _compiled_once()
    compiled._orig_mod.load_state_dict(net.state_dict())
    compiled.zero_grad()
    return compiled.train()


class _Project:
    """What a foreign project does, to be mixed with the LightningModule of either package."""

    log: Any
    parameters: Any

    def __init__(self, compile_net: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        net = _net()
        self.net: Any = _compiled(net) if compile_net else net

    def loss(self, batch: Any) -> Tensor:
        """Return the cross-entropy of a batch, a scalar."""
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Log and return the loss."""
        loss = self.loss(batch)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """Return SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.5)


class Classifier(_Project, pl.LightningModule):
    """A foreign project in miniature: dropout, batch norm and a log call, nothing of ours."""


class _Averaged(Classifier):
    """A callback keeps an average of the weights, which replaces them at the end of the run."""

    def __init__(self, average: Any) -> None:
        super().__init__()
        self._average = average

    def configure_callbacks(self) -> Any:
        """Return the callback."""
        return [self._average()]


class TwoOptimizers(Classifier):
    """The same under manual optimization, with an optimizer for each half of the parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def energy(self, batch: Any) -> Tensor:
        """Return what a probe is to take for the energy."""
        return self.loss(batch)

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        """Step both optimizers."""
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(self.loss(batch))
        for optimizer in optimizers:
            optimizer.step()

    def configure_optimizers(self) -> Any:
        """Return two optimizers."""
        parameters = list(self.parameters())
        return [torch.optim.SGD(parameters[:2], lr=0.05), torch.optim.Adam(parameters[2:], lr=0.01)]


def train(module: Any, folder: Path, callbacks: Any, lightning: Any = pl, **trainer: Any) -> Any:
    """Train a foreign module for three epochs of shuffled batches; return its Trainer."""
    torch.manual_seed(2)
    x = torch.randn(64, 8)
    loader = DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=8, shuffle=True)
    trainer = {"max_epochs": 3} | _quiet(folder) | trainer
    resume = trainer.pop("ckpt_path", None)
    fitted = lightning.Trainer(callbacks=callbacks, **trainer)
    with warnings.catch_warnings(), patch.dict(os.environ):
        warnings.simplefilter("ignore")  # what Lightning says of small loaders
        os.environ.pop("PL_GLOBAL_SEED", None)  # of another run: ranks would seed themselves by it
        fitted.fit(module, loader, ckpt_path=resume)
    return fitted


def last_record(folder: Path, name: str) -> Any:
    """Return the record of a probe of the last run without a logger in a folder."""
    runs = (folder / "landscape_logs").iterdir()
    last = max(runs, key=lambda run: int(run.name.removeprefix("version_")))
    return records.read(last / "probes" / f"{name}.nc")


def _quiet(folder: Path) -> dict[str, Any]:
    return {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def _of_last_epochs() -> Any:
    return pl.callbacks.StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=1)


def _exponential() -> Any:
    # in pytorch-lightning since 2.6
    average = getattr(pl.callbacks, "EMAWeightAveraging", None)
    return average(decay=0.9) if average else pytest.skip("this Lightning has no moving average")


def _landscape() -> LandscapeModule:
    energy = Quadratic(spectrum=[0.5, 1.0, 2.0], replicas=4, seed=0)
    return LandscapeModule(energy, lambda params: torch.optim.SGD(params, lr=0.1))


_ENDS: dict[tuple[Any, str], dict[str, Tensor]] = {}


def _end_without_probe(make: Any, settings: dict[str, Any], folder: Path) -> dict[str, Tensor]:
    """Return the final state of a run without a probe; trained once for all contracts."""
    key = (make, repr(settings))
    if key not in _ENDS:
        module = make()
        train(module, folder, [], **settings)
        _ENDS[key] = _state(module)
    return _ENDS[key]


class ProbeContract:
    """Subclass it in a test file, give `make`, and pytest does the rest.

    ``make`` returns a new probe whose times lie within the first 20 steps of a run. A probe that
    needs more than a quadratic well gives its own `landscape` as well.
    """

    _whole_run: ClassVar[tuple[Any, Tensor]]

    SITUATIONS: ClassVar[dict[str, Any]] = {
        "dropout and batch norm": (Classifier, {}),
        "accumulation and clipping": (
            Classifier,
            {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1},
        ),
        "bf16": (Classifier, {"precision": "bf16-mixed"}),
        "compiled": (lambda: Classifier(compile_net=True), {}),
        "manual, two optimizers": (TwoOptimizers, {}),
        "stochastic weight averaging": (partial(_Averaged, _of_last_epochs), {}),
        "exponential moving average": (partial(_Averaged, _exponential), {}),
    }

    # one epoch of a linear classifier, where the step has side effects, or is of another form
    EPOCH: ClassVar[dict[str, Any]] = {"max_epochs": 1}

    def make(self) -> Probe:
        """Return a new probe."""
        raise NotImplementedError

    def landscape(self) -> LandscapeModule:
        """Return a new run of ours to be measured: replicas in a quadratic well under SGD."""
        return _landscape()

    @pytest.mark.parametrize("situation", SITUATIONS)
    def test_trajectory_is_unchanged_bit_for_bit(self, situation: str, tmp_path: Path) -> None:
        """The run with the probe ends in the state of the run without it."""
        make_module, settings = self.SITUATIONS[situation]
        probe = self.make()
        self._assert_trajectory_is_unchanged(make_module, settings, probe, tmp_path)
        assert probe.active
        assert probe.measured_step > 0

    def test_two_ranks_of_a_foreign_project_go_on_bit_for_bit(self, tmp_path: Path) -> None:
        """Each with batches of its own; rank zero writes the one record."""
        make_module, settings = self.SITUATIONS["dropout and batch norm"]
        settings, probe = settings | {"strategy": "ddp_fork", "devices": 2}, self.make()
        self._assert_trajectory_is_unchanged(make_module, settings, probe, tmp_path)
        (record,) = tmp_path.rglob("*.nc")
        assert record.stem == probe.name

    @pytest.mark.parametrize("memory", TOGETHER)
    def test_a_step_with_side_effects_goes_on_bit_for_bit(
        self, memory: str, tmp_path: Path
    ) -> None:
        """What ``training_step`` changes beside its loss is as it would be without the probe."""
        probe = self.make()
        self._assert_trajectory_is_unchanged(TOGETHER[memory], self.EPOCH, probe, tmp_path)

    @pytest.mark.parametrize("form", FORMS)
    def test_a_project_of_another_form_runs_to_its_end(self, form: str, tmp_path: Path) -> None:
        """Bit for bit, too, whether it can be measured or not."""
        self._assert_trajectory_is_unchanged(FORMS[form], self.EPOCH, self.make(), tmp_path)

    def test_a_second_run_knows_nothing_of_the_first(self, tmp_path: Path) -> None:
        """A used probe and a new one measure the same in one run, each under its own name."""
        used, new = self.make(), self.make()
        train(Classifier(), tmp_path, [used], max_epochs=1)
        used._name, new._name = "used", "new"
        train(MEMORIES["a counter"](), tmp_path, [used, new], **self.EPOCH)
        assert used.state_key != new.state_key
        assert used.measured_step == new.measured_step
        assert used.results.keys() == new.results.keys()
        for name, value in new.results.items():
            torch.testing.assert_close(used.results[name], value, rtol=0, atol=0, equal_nan=True)

    def _assert_trajectory_is_unchanged(
        self, make_module: Any, settings: dict[str, Any], probe: Probe, folder: Path
    ) -> None:
        module = make_module()
        train(module, folder, [probe], **settings)
        end = _state(module)  # of a network that the run without a probe may share
        for name, value in _end_without_probe(make_module, settings, folder).items():
            assert torch.equal(value, end[name]), name

    def test_one_probe_serves_both_lightning_packages(self, tmp_path: Path) -> None:
        """The Trainer of `lightning.pytorch` accepts it, given alone and not in a list."""
        unified = pytest.importorskip("lightning.pytorch")

        class Unified(_Project, unified.LightningModule):  # type: ignore[name-defined]
            pass

        probe = self.make()
        train(Unified(), tmp_path, probe, lightning=unified, max_epochs=2)
        assert probe.measured_step > 0

    def test_killed_and_resumed_gives_the_same_record(self, tmp_path: Path) -> None:
        """A run that stops at step 7 and continues ends with the record of one that did not."""
        first, _ = self._run(tmp_path, 7)
        first.save_checkpoint(tmp_path / "at7.ckpt")
        self._run(tmp_path, 20, ckpt_path=tmp_path / "at7.ckpt")
        self._assert_record_of_one_process(tmp_path)

    def test_two_processes_give_the_record_of_one(self, tmp_path: Path) -> None:
        """Replicas shared out among ranks: nothing is missing, and nothing is counted twice."""
        self._run(tmp_path, 20, strategy="replicas_fork", devices=2)
        self._assert_record_of_one_process(tmp_path)

    def _run(self, folder: Path, steps: int, **trainer: Any) -> tuple[pl.Trainer, LandscapeModule]:
        """Measure a run of ours."""
        resume, module = trainer.pop("ckpt_path", None), self.landscape()
        fitted = bare_trainer([self.make()], steps, folder, **trainer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted.fit(module, ckpt_path=resume)
        return fitted, module

    def _whole(self, folder: Path) -> tuple[Any, Tensor]:
        """Return record and end of one run in one process; it is done once for a contract."""
        if "_whole_run" not in vars(type(self)):
            _, module = self._run(folder / "whole", 20)
            record = last_record(folder / "whole", self.make().name)
            type(self)._whole_run = record, module.energy.configuration()
        return self._whole_run

    def _assert_record_of_one_process(self, folder: Path) -> None:
        import xarray

        expected, _ = self._whole(folder)
        xarray.testing.assert_identical(expected, last_record(folder, self.make().name))


class LandscapeProbeContract(ProbeContract):
    """The same for a probe that needs an energy of ours, which it names in a foreign project.

    Give `make`, `landscape` and ``refusal``, a pattern of what it says there.
    """

    refusal: ClassVar[str]

    @pytest.mark.parametrize("situation", ["ours"])
    def test_trajectory_is_unchanged_bit_for_bit(self, situation: str, tmp_path: Path) -> None:
        """The landscape with the probe ends where it ends without it."""
        without = self.landscape()
        bare_trainer([], 20, tmp_path).fit(without)
        record, end = self._whole(tmp_path)
        assert record.sizes["t"] > 0
        assert end.equal(without.energy.configuration())

    def test_one_probe_serves_both_lightning_packages(  # type: ignore[override]
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A foreign project is told which energy it needs, and runs to its end."""
        probe = self.make()
        fitted = train(Classifier(), tmp_path, probe, max_epochs=1)
        assert fitted.global_step == 8
        assert not probe.active
        assert re.search(self.refusal, caplog.text)

    # these are of foreign projects
    test_two_ranks_of_a_foreign_project_go_on_bit_for_bit = None  # type: ignore[assignment]
    test_a_step_with_side_effects_goes_on_bit_for_bit = None  # type: ignore[assignment]
    test_a_project_of_another_form_runs_to_its_end = None  # type: ignore[assignment]

    def test_a_second_run_knows_nothing_of_the_first(self, tmp_path: Path) -> None:
        """A used probe has the record of a new one, which measures the same run."""
        used, new = self.make(), self.make()
        bare_trainer([used], 7, tmp_path).fit(self.landscape())
        new._name = "new"
        bare_trainer([used, new], 20, tmp_path).fit(self.landscape())
        self._assert_record_of_one_process(tmp_path)
        assert (tmp_path / "landscape_logs/version_1/probes/new.nc").is_file()
