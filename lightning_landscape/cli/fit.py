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
from lightning_landscape.callbacks.progress import PhysicalProgressBar
from lightning_landscape.cli.checkpoints import AtomicCheckpointIO, RunCheckpoint
from lightning_landscape.cli.messages import one_sentence
from lightning_landscape.cli.runs import RunFolder, claim
from lightning_landscape.errors import UsageError
from lightning_landscape.modules.landscape import LandscapeModule
from lightning_landscape.results import summary as results

__all__ = ["LandscapeCLI", "main"]

PACKAGE = Path(__file__).parents[1]

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

    def __init__(self, args: list[str], run: bool = True) -> None:
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

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given arguments, not ``sys.argv``."""
        self.config = parser.parse_args(args)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of a run other than model and trainer."""
        parser.add_argument(
            "--experiment", type=str, default="run", help="Folder of the run under save_dir."
        )
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")

    def before_instantiate_classes(self) -> None:
        """Find or create the run folder, before anything is allocated."""
        if self.subcommand in ("validate", "test", "predict"):
            self.config[self.subcommand].trainer.logger = False  # they only print a table
        if self.subcommand != "fit" or not self.config.fit.trainer.logger:
            return
        config = self.config.fit
        loggers = config.trainer.logger
        loggers = loggers if isinstance(loggers, list) else [loggers]
        save_dir = Path(loggers[0].init_args.save_dir)
        self.folder = claim(save_dir / config.experiment, self._resolved())
        for logger in loggers:
            logger.init_args.name = config.experiment
            logger.init_args.version = self.folder.version
        if config.ckpt_path is None and self.folder.checkpoint is not None:
            config.ckpt_path = str(self.folder.checkpoint)
            print(f"resuming {self.folder.path} from its last checkpoint")

    def _resolved(self) -> str:
        """Return the configuration as YAML, without the entries that identify this run."""
        config = yaml.safe_load(self._parser("fit").dump(self.config.fit))
        for key in ("ckpt_path", "config"):
            config.pop(key, None)
        for logger in _as_list(config["trainer"]["logger"]):
            for key in ("name", "version"):
                logger["init_args"].pop(key, None)
        return yaml.safe_dump(config, sort_keys=False)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add the physical progress bar and the atomic checkpoints."""
        trainer = self._get(self.config_init, "trainer")
        trainer.callbacks = _as_list(trainer.callbacks)
        if trainer.enable_progress_bar is not False:
            # first, so that at the end it is closed before the probes print
            trainer.callbacks.insert(0, PhysicalProgressBar())
        trainer.plugins = [*_as_list(trainer.plugins), AtomicCheckpointIO()]
        return super().instantiate_trainer(**kwargs)

    def after_fit(self) -> None:
        """Print the table of results and the paths of all files; mark the run as finished."""
        if self.folder is None or not self.trainer.is_global_zero:
            return
        table = results.summarize(self.folder.path)
        print(f"\n{table}\n")
        self.folder.finish(table)


def _as_list(value: Any) -> list[Any]:
    if not value:
        return []
    return value if isinstance(value, list) else [value]


def main(args: list[str]) -> int:
    """Run ``fit``, ``validate`` or ``test`` with the arguments that follow it."""
    quiet()
    LandscapeCLI(with_packaged_config(args))
    return 0


def quiet() -> None:
    """Show our own messages and Lightning's warnings, but not its notices and tips."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("lightning_landscape").setLevel(logging.INFO)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)  # Lightning's, about torch


def with_packaged_config(args: list[str]) -> list[str]:
    """Make ``--config configs/…`` find the configurations of an installed package."""
    return [
        str(PACKAGE / a) if a.startswith("configs" + os.sep) and not Path(a).exists() else a
        for a in args
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
