"""The verb compare: run configurations, and say in which quantities their runs agree."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from lightning_landscape.cli.configurations import check_files
from lightning_landscape.cli.fit import main as fit
from lightning_landscape.cli.fit import with_packaged_config
from lightning_landscape.cli.report.runs import holds
from lightning_landscape.cli.report.verb import add_options, write
from lightning_landscape.cli.runs import CONFIG, RESULTS
from lightning_landscape.errors import UsageError, require

__all__ = ["main"]


def main(args: list[str]) -> int:
    """Run what has not been run, write the page of all runs, and print the verdict.

    A configuration whose newest finished run has the same options is not run again, so that the
    command goes on where it was stopped.

    Raises:
        UsageError: a configuration is not one of ``fit``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape compare", description=__doc__
    )
    parser.add_argument("configs", nargs="+", help="configurations of fit")
    parser.add_argument("--save_dir", default="logs", help="folder that holds the runs")
    add_options(parser)
    options = parser.parse_args(args[1:])
    paths = [with_packaged_config(["--config", config])[1] for config in options.configs]
    named = [(path, _read(path)) for path in paths]  # all are checked before the first is run
    runs = []
    for path, config in named:
        experiment = Path(options.save_dir) / config["experiment"]
        run = _finished(experiment, config)
        if run is None:
            print(f"\n{path}")
            where = ["--trainer.logger.init_args.save_dir", options.save_dir]
            fit(["fit", "--config", path, *where])
            run = _finished(experiment, {})  # the newest
        if run is None:
            raise UsageError(f"configs = {path}: it has left no results in {experiment}")
        runs.append(run)
    print()
    write(runs, options.output, options.margin)
    return 0


def _read(path: str) -> dict[str, Any]:
    check_files(["--config", path])
    config = yaml.safe_load(Path(path).read_text())
    right = isinstance(config, dict) and {"experiment", "model"} <= config.keys()
    require(right, "configs", path, "needs the options experiment and model of fit")
    return dict(config)


def _finished(experiment: Path, config: dict[str, Any]) -> Path | None:
    """Return the newest finished run of a configuration, or None."""
    runs = [path.parent for path in experiment.glob(f"version_*/{RESULTS}")]
    runs.sort(key=lambda run: int(run.name.removeprefix("version_")), reverse=True)
    of_config = (run for run in runs if holds((run / CONFIG).read_text(), config))
    return next(of_config, None)
