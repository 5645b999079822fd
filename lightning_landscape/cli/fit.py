"""The verbs fit, validate and test: LightningCLI for LandscapeModule, with run folders."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

# imported so that a configuration can use the short names of their classes
import lightning_landscape.callbacks
import lightning_landscape.data
import lightning_landscape.dynamics
import lightning_landscape.energies  # noqa: F401
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.progress import PhysicalProgressBar
from lightning_landscape.cli.checkpoints import (
    AtomicCheckpointIO,
    RunCheckpoint,
    step_of,
    to_resume_from,
)
from lightning_landscape.cli.configurations import check_files
from lightning_landscape.cli.configurations.catalogue import folder
from lightning_landscape.cli.distributed.launch import is_rank_zero, on_nodes
from lightning_landscape.cli.distributed.ranks import as_end_of_run, pass_on, watch
from lightning_landscape.cli.estimate import Estimate
from lightning_landscape.cli.identity import describe, differences
from lightning_landscape.cli.interrupts import Interrupted
from lightning_landscape.cli.messages import one_sentence
from lightning_landscape.cli.refusals import as_usage_error
from lightning_landscape.cli.runs import CHECKPOINT, CONFIG, Choice, RunFolder, claim, inside
from lightning_landscape.cli.trainer_options import check_length, check_trainer
from lightning_landscape.cli.trusted import allowed, check_arguments, check_names
from lightning_landscape.errors import UsageError, require
from lightning_landscape.modules.landscape import LandscapeModule
from lightning_landscape.results import summary as results

__all__ = ["LandscapeCLI", "main"]

_TRAINER_DEFAULTS = {
    "logger": {"class_path": "TensorBoardLogger", "init_args": {"save_dir": "logs"}},
    "max_epochs": -1,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
    "inference_mode": False,
}


class LandscapeParser(LightningArgumentParser):
    """A parser whose errors are one sentence."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        """Raise a `UsageError` with the sentence."""
        if not self.exit_on_error:  # a nested attempt, whose failure the outer parser reports
            super().error(message, ex)
        raise UsageError(one_sentence(message, self._known_options()))

    def _known_options(self) -> list[str]:
        parsers = [
            self,
            *(self._subcommands_action.choices.values() if self._subcommands_action else []),
        ]
        return [action.dest for parser in parsers for action in parser._actions]


class LandscapeCLI(LightningCLI):
    """LightningCLI for landscapes: one folder per run, exact resume, a table of results at the end.

    Args:
        args: the command line after the program's name, verb first.
        run: whether to run the verb, or only build ``model`` and ``trainer``.
    """

    folder: RunFolder | None = None
    _raw: Any = None  # the configuration as plain mappings, once it has been parsed

    def __init__(self, args: list[str], run: bool = True) -> None:
        self._allowed = allowed(args)
        self._verb = args[0] if args else ""
        try:
            super().__init__(
                LandscapeModule,
                None,
                save_config_callback=None,
                trainer_defaults=_TRAINER_DEFAULTS,
                seed_everything_default=0,
                parser_kwargs={
                    "prog": "python -m lightning_landscape",
                    "allow_abbrev": False,
                    **{verb: {"allow_abbrev": False} for verb in self.subcommands()},
                },
                parser_class=LandscapeParser,
                args=args,
                run=run,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
        except BaseException as error:
            if isinstance(error, Interrupted):
                pass_on(error.signum, getattr(self, "trainer", None))
            ended = as_end_of_run(error)
            if not self._has_done_steps():
                self._discard_folder()
            if ended is not None:
                raise ended from error
            if self._has_done_steps():
                raise
            if not isinstance(error, Exception):  # a signal, or --help
                raise
            raise as_usage_error(error, self._raw, "trainer") from error

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Return the verb to run alone: the parsers of all take as long as a short run."""
        verbs = super().subcommands()
        return {self._verb: verbs[self._verb]} if self._verb in verbs else verbs

    def _has_done_steps(self) -> bool:
        trainer: Any = getattr(self, "trainer", None)
        return any(
            c.has_trained for c in getattr(trainer, "callbacks", []) if isinstance(c, RunCheckpoint)
        )

    def _discard_folder(self) -> None:
        """Leave no trace of a run that was refused before its first step."""
        if self.folder is not None:
            for logger in getattr(getattr(self, "trainer", None), "loggers", []):
                logger.finalize("failed")
            self.folder.discard()

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given arguments, not ``sys.argv``."""
        self.config = parser.parse_args(args)
        if self.config.get("subcommand") is not None:
            chosen = self.config[self.config.subcommand]
            seed = chosen.get("seed_everything", 0)
            right = isinstance(seed, bool) or 0 <= seed < 2**32
            require(right, "seed_everything", seed, "must be at least 0, and below 2^32")
            self._check_checkpoint(chosen.get("ckpt_path"))

    def _check_checkpoint(self, address: str | None) -> None:
        """Refuse a checkpoint that is none, or from elsewhere, before Lightning reads it."""
        if address is None:
            return
        if "://" not in address:
            step_of(Path(address))
            # torch unpickles what is in such a folder
            place = Path(address).resolve().as_uri()
            trusted = any(place.startswith(name) for name in self._allowed)
            remedy = f"give --allow {place} if you trust where it comes from"
            safe = trusted or not Path(address).is_dir()
            require(safe, "ckpt_path", address, "is a folder, whose content is executed", remedy)
        require(
            "://" not in address or any(address.startswith(name) for name in self._allowed),
            "ckpt_path",
            address,
            "is not on this machine",
            f"give --allow {address} to load it",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run other than model and trainer."""
        parser.add_argument(
            "--experiment", type=str, default="run", help="Folder of the run under save_dir."
        )
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        add_choices(parser)

    def before_instantiate_classes(self) -> None:
        """Check what can be checked before anything is allocated."""
        config = self.config if self.subcommand is None else self.config[self.subcommand]
        self._raw = config.as_dict()
        check_trainer(self._raw["trainer"])
        if self.subcommand == "fit":
            check_length(self._raw["trainer"])
        if self.subcommand in ("validate", "test", "predict"):
            config.trainer.logger = False  # they only print a table

    def _resolved(self) -> dict[str, Any]:
        """Return the configuration without the entries that identify this run."""
        config: dict[str, Any] = yaml.safe_load(self._parser("fit").dump(self.config.fit))
        for key in ("ckpt_path", "config", "new", "continue", "allow", "all", "weights_only"):
            config.pop(key, None)
        for logger in _as_list(config["trainer"]["logger"]):
            for key in ("name", "version"):
                logger["init_args"].pop(key, None)
        return config

    def _claim(self) -> RunFolder:
        """Find or create the run folder, and the checkpoint to start from."""
        config, resolved = self.config.fit, self._resolved()
        loggers = _as_list(config.trainer.logger)
        named = all("save_dir" in logger.get("init_args", {}) for logger in loggers)
        require(named, "trainer.logger", "", "needs a save_dir", "or is false, to write nothing")
        choice: Choice = "new" if config.new else "continue" if config["continue"] else "ask"
        if config.ckpt_path is not None and "://" not in config.ckpt_path:
            _check_same_system(Path(config.ckpt_path), resolved)
        experiment = inside(loggers[0].init_args.save_dir, config.experiment)
        with on_nodes(config.trainer.num_nodes):
            folder = claim(experiment, yaml.safe_dump(resolved, sort_keys=False), choice)
        if config.ckpt_path is None and (found := to_resume_from(folder.path)) is not None:
            path, step = found
            self.config_init.fit.ckpt_path = str(path)
            if is_rank_zero():
                # a damaged last.ckpt is not read; its predecessor is, and the user should know
                damaged = path != folder.path / CHECKPOINT
                last = f"{path.name}, since last.ckpt cannot be read" if damaged else path.name
                print(f"resuming {folder.path} from its checkpoint {last}, at step {step}")
        if folder.note:
            print(folder.note)
        return folder

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Claim the folder; add the physical progress bar and the atomic checkpoints."""
        trainer = self._get(self.config_init, "trainer")
        trainer.callbacks = _as_list(trainer.callbacks)
        if trainer.enable_progress_bar is not False:
            # first, so that at the end it is closed before the probes print
            trainer.callbacks.insert(0, PhysicalProgressBar())
        trainer.callbacks.append(Estimate())
        trainer.plugins = [*_as_list(trainer.plugins), AtomicCheckpointIO()]
        if self.subcommand == "fit" and trainer.logger:
            self.folder = self._claim()
            for logger in _as_list(trainer.logger):
                logger._name, logger._version = self.config.fit.experiment, self.folder.version
        made = super().instantiate_trainer(**kwargs)
        watch(made)
        return made

    def after_fit(self) -> None:
        """Complete the files of the run, print its table, and mark it as finished."""
        self._complete()
        if self.folder is None or not self.trainer.is_global_zero:
            return
        summary = results.summarize(self.folder.path)
        print(f"\n{summary.full if self.config.fit.all else summary}\n")
        self.folder.finish(summary.full)

    def _complete(self) -> None:
        """Write the records of a run that was killed after its last step, from its checkpoint.

        Raises:
            UsageError: the run has ended before its last step.
        """
        trainer: Any = self.trainer
        (checkpoint,) = (c for c in trainer.callbacks if isinstance(c, RunCheckpoint))
        step, last = trainer.global_step, trainer.max_steps
        if step < last and not trainer.should_stop:
            raise UsageError(f"the run has ended at step {step}, before trainer.max_steps = {last}")
        if checkpoint.has_ended:
            return
        for probe in trainer.callbacks:
            if isinstance(probe, Probe):
                probe.on_train_start(trainer, self.model)
                probe.on_train_end(trainer, self.model)


def _check_same_system(checkpoint: Path, now: dict[str, Any]) -> None:
    """Refuse the checkpoint of a run whose system, optimizer or probes are others."""
    saved = checkpoint.absolute().parent.parent / CONFIG
    if not saved.is_file():
        return
    fatal = [d for d in differences(yaml.safe_load(saved.read_text()), now) if d.is_fatal]
    require(
        not fatal,
        "ckpt_path",
        checkpoint,
        f"is the state of another {describe(fatal)}",
        f"give --config {saved}",
    )


def _as_list(value: Any) -> list[Any]:
    if not value:
        return []
    return value if isinstance(value, list) else [value]


def main(args: list[str]) -> int:
    """Run ``fit``, ``validate`` or ``test`` with the arguments that follow it."""
    quiet()
    cli = LandscapeCLI(checked(with_packaged_config(args)))
    if cli.folder is not None:
        cli.folder.release()
    return 0


def add_choices(parser: LightningArgumentParser) -> None:
    """Add the options that say what to do in case of doubt."""
    parser.add_argument("--new", action="store_true", help="Start a run even if one can go on.")
    parser.add_argument(
        "--continue", action="store_true", help="Go on with an unfinished run of other options."
    )
    parser.add_argument("--all", action="store_true", help="Print all rows of the table.")
    add_allow(parser)


def add_allow(parser: Any) -> None:
    """Add the option that names what is trusted; `allowed` reads it from the command line."""
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        help="A module, or the beginning of an address of checkpoints, that you trust.",
    )


def checked(args: list[str]) -> list[str]:
    """Return the arguments, of which no file and no name of a class is what it must not be."""
    names = allowed(args)
    for content in check_files(args):
        check_names(content, names)
    check_arguments(args, names)
    return args


def quiet() -> None:
    """Show our own messages and Lightning's warnings, but not its notices and tips."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("lightning_landscape").setLevel(logging.INFO)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # Lightning's, about torch


def with_packaged_config(args: list[str]) -> list[str]:
    """Make ``--config configs/…`` find the configurations of the package from any folder."""
    return [
        str(folder().parent / a) if a.startswith("configs" + os.sep) and not Path(a).exists() else a
        for a in args
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
