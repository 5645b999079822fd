"""The verb study: a set of points and seeds computed round after round, from a configuration."""

from __future__ import annotations

from typing import Any

import yaml

# imported so that a configuration can use the short names of their classes
import lightning_landscape.data
import lightning_landscape.dynamics
import lightning_landscape.energies
import lightning_landscape.studies.ensembles
import lightning_landscape.studies.finite_size
import lightning_landscape.studies.hessian_free
import lightning_landscape.studies.jamming
import lightning_landscape.studies.wide_networks  # noqa: F401
from lightning_landscape.cli.fit import (
    LandscapeParser,
    add_choices,
    checked,
    quiet,
    with_packaged_config,
)
from lightning_landscape.cli.interrupts import ending_at_once
from lightning_landscape.cli.runs import Choice, claim, inside
from lightning_landscape.results import summary as results
from lightning_landscape.studies import Experiment, Study
from lightning_landscape.studies.clusters import workers

__all__ = ["add_engine", "main", "resolved", "run", "study_parser"]


def main(args: list[str]) -> int:
    """Run a study, or resume it, in a run folder; print its table."""
    parser = study_parser("study", __doc__ or "")
    parser.add_argument("--study", type=Study, required=True, help="What to compute.")
    return run(parser, "study", args[1:])


def study_parser(verb: str, description: str) -> LandscapeParser:
    """Return a parser with the options common to all studies."""
    parser = LandscapeParser(
        prog=f"python -m lightning_landscape {verb}", description=description, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="A file with these options.")
    parser.add_argument("--save_dir", type=str, default="logs", help="Folder that holds the runs.")
    parser.add_argument(
        "--experiment", type=str, default=verb, help="Folder of the run under save_dir."
    )
    parser.add_argument(
        "--processes",
        type=int | None,
        default=None,
        help="Number of processes that share a round; by default one per core.",
    )
    add_engine(parser)
    add_choices(parser)
    return parser


def add_engine(parser: LandscapeParser) -> None:
    """Add the options that say where processes are started."""
    parser.add_argument(
        "--engine",
        type=str,
        default="processes",
        help="Where these are: processes here, local, tcp://host:port of Dask, or a job queue.",
    )
    parser.add_argument(
        "--engine_options", type=dict | None, default=None, help="Arguments of the job queue."
    )


def run(parser: LandscapeParser, key: str, args: list[str]) -> int:
    """Run the study given as the option ``key`` in a run folder, and print its table."""
    quiet()
    config = parser.parse_args(checked(with_packaged_config(args)))
    study: Study = parser.instantiate_classes(config)[key]
    processes = study.default_processes if config.processes is None else config.processes
    engine = workers(config.engine, processes, config.engine_options)
    experiment = Experiment(study, engine)
    choice: Choice = "new" if config.new else "continue" if config["continue"] else "ask"
    folder = claim(inside(config.save_dir, config.experiment), resolved(parser, config), choice)
    record = folder.path / "probes" / f"{study.name}.nc"
    text = (folder.path / "config.yaml").read_text()
    with ending_at_once():  # its files are complete, and its workers end with it
        experiment.run(record, {"config": text}, tell=lambda line: print(line, flush=True))
    summary = results.summarize(folder.path)
    print(f"\n{summary.full if config['all'] else summary}\n")
    folder.finish(summary.full)
    return 0


def resolved(parser: LandscapeParser, config: Any) -> str:
    """Return the configuration as YAML, without the file it came from."""
    resolved = yaml.safe_load(parser.dump(config))
    for key in ("config", "new", "continue", "allow", "all", "engine", "engine_options"):
        resolved.pop(key, None)
    return yaml.safe_dump(resolved, sort_keys=False)
