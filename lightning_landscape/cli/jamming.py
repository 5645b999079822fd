"""The verb jamming: find when networks can no longer fit their data, from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

# imported so that a configuration can use the short names of their classes
import lightning_landscape.data
import lightning_landscape.dynamics
import lightning_landscape.studies.jamming  # noqa: F401
from lightning_landscape.cli.fit import LandscapeParser, quiet, with_packaged_config
from lightning_landscape.cli.runs import claim
from lightning_landscape.results import summary as results
from lightning_landscape.studies.jamming import Experiment

__all__ = ["main"]


def main(args: list[str]) -> int:
    """Run the study, or resume it, in a run folder; print its table."""
    quiet()
    parser = _parser()
    config = parser.parse_args(with_packaged_config(args[1:]))
    study: Experiment = parser.instantiate_classes(config).jamming
    folder = claim(Path(config.save_dir) / config.experiment, _resolved(parser, config))
    record = folder.path / "probes" / "jamming.nc"
    text = (folder.path / "config.yaml").read_text()
    study.run(record, {"config": text}, tell=lambda line: print(line, flush=True))
    table = results.summarize(folder.path)
    print(f"\n{table}\n")
    folder.finish(table)
    return 0


def _parser() -> LandscapeParser:
    parser = LandscapeParser(
        prog="python -m lightning_landscape jamming", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="A file with these options.")
    parser.add_argument("--save_dir", type=str, default="logs", help="Folder that holds the runs.")
    parser.add_argument(
        "--experiment", type=str, default="jamming", help="Folder of the run under save_dir."
    )
    parser.add_class_arguments(Experiment, "jamming")
    return parser


def _resolved(parser: LandscapeParser, config: Any) -> str:
    """Return the configuration as YAML, without the name of its file."""
    resolved = yaml.safe_load(parser.dump(config))
    resolved.pop("config", None)
    return yaml.safe_dump(resolved, sort_keys=False)
