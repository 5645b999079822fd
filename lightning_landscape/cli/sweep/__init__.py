"""The verb sweep: one configuration at every combination of some of its options, resumably."""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import yaml

from lightning_landscape.cli.configurations import check_files
from lightning_landscape.cli.fit import quiet, with_packaged_config
from lightning_landscape.cli.interrupts import ending_at_once
from lightning_landscape.cli.runs import inside
from lightning_landscape.cli.sweep.catalogue import Catalogue
from lightning_landscape.cli.sweep.engine import carry_out
from lightning_landscape.cli.sweep.laws import check_law
from lightning_landscape.cli.sweep.points import Point, grid, part_of
from lightning_landscape.cli.sweep.work import Keep, Outcome, Task, finished
from lightning_landscape.errors import require
from lightning_landscape.records import write_atomically
from lightning_landscape.results import summary
from lightning_landscape.studies import Workers
from lightning_landscape.studies.clusters import cores, workers

__all__ = ["main"]

SWEEP = "sweep.yaml"
_OPTIONS: tuple[tuple[str, Any, str], ...] = (
    ("over", str, "KEY=V1,V2,… or KEY=0:32: an option of fit and its values; any number of times"),
    ("engine", str, "local (default), processes, tcp://host:port of Dask, or a queue as slurm"),
    (
        "engine_options",
        yaml.safe_load,
        "arguments of the queue, as {queue: long}",
    ),
    ("workers", int, "how many runs at a time"),
    ("law", str, "infinity, zero or power: what is fitted against the option, see the docs"),
    ("part", str, "k/n: only every n-th point from the k-th, in this process"),
)
_FILE_KEYS = ("fit", "over", "engine", "workers", "engine_options", "keep", "law")


def main(args: list[str]) -> int:
    """Run the points of a sweep that are missing, and print the table of its catalogue.

    Returns:
        0, or 1 if a point has failed.
    """
    quiet()
    options, fit = _parsed(args[1:])
    points, base = grid(options.over), _base(fit)
    experiment = inside(str(base["save_dir"]), str(base["experiment"]))
    chosen = part_of(points, options.part)
    tasks = {point.label: _task(point, fit, experiment, options.keep, base) for point in chosen}
    if options.dry_run:
        return _show(chosen, tasks)
    does = _workers(options)
    _check_definition(experiment, fit)
    path, said = experiment / "probes" / "sweep.nc", {"config": base["text"]}
    catalogue = Catalogue(path, points, said, options.law)
    missing = [p for p in chosen if p.label not in catalogue.outcomes]
    writes = options.part is None  # parts run beside each other: one command collects them
    with ending_at_once():
        outcomes = carry_out(
            [(p, tasks[p.label]) for p in missing],
            does,
            total=len(chosen),
            found=catalogue.add if writes else lambda point, outcome: None,
        )
    if writes:
        catalogue.write()
        print(f"\n{summary.summarize(experiment).full}\n")
    else:
        print("the same command without --part collects the results of all parts")
    return _failures(outcomes)


def _parsed(args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options of the sweep, and what is passed on to ``fit``."""
    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape sweep",
        description=f"{__doc__} What is not named here is an option of fit. A --config with the "
        "key over is a sweep: its key fit names the configuration.",
        allow_abbrev=False,
    )
    for name, kind, text in _OPTIONS:
        repeated: dict[str, Any] = {"action": "append", "default": []} if name == "over" else {}
        parser.add_argument(f"--{name}", type=kind, help=text, **repeated)
    parser.add_argument("--keep", choices=get_args(Keep), help="what a finished point leaves")
    parser.add_argument("--dry_run", action="store_true", help="show the points, run none")
    options, fit = parser.parse_known_args(args)
    fit = _filled(options, with_packaged_config(fit))
    require(len(options.over) > 0, "over", "", "is missing", "give --over KEY=V1,V2")
    options.keep = options.keep or "all"
    options.law = None if options.law is None else check_law(options.law)
    return options, fit


def _filled(options: argparse.Namespace, fit: list[str]) -> list[str]:
    """Take from the file of a sweep what the command line does not give."""
    contents = check_files(fit)
    if not any("over" in content for content in contents):
        return fit
    require(len(contents) == 1, "config", len(contents), "files, where one is a sweep")
    (content,) = contents
    unknown = sorted(set(content) - set(_FILE_KEYS))
    required = f"unknown in a sweep, whose keys are {', '.join(_FILE_KEYS)}"
    require(not unknown, "config", ", ".join(unknown), required)
    over, base = content["over"], content.get("fit")
    require(isinstance(over, dict), "over", over, "must be a mapping of options to values")
    require(isinstance(base, str), "fit", base, "must be the name of a configuration")
    options.over = options.over or [f"{key}={_listed(values)}" for key, values in over.items()]
    for key in ("engine", "workers", "engine_options", "keep", "law"):
        if getattr(options, key) is None:
            setattr(options, key, content.get(key))
    place = next(k for k, a in enumerate(fit) if a == "--config" or a.startswith("--config="))
    after = fit[place + (2 if fit[place] == "--config" else 1) :]
    return with_packaged_config([*fit[:place], "--config", str(base), *after])


def _listed(values: Any) -> str:
    if isinstance(values, list):
        return yaml.safe_dump(values, default_flow_style=True, width=10**6).strip()[1:-1]
    return str(values)


def _base(fit: list[str]) -> dict[str, Any]:
    """Return what the sweep has to know of the configuration that it varies."""
    merged: dict[str, Any] = {}
    for content in check_files(fit):
        merged |= content
    named = [arg for arg in fit if arg.startswith("--experiment=")]
    named += [f"--experiment={b}" for a, b in pairwise(fit) if a == "--experiment"]
    experiment = named[-1].partition("=")[2] if named else merged.get("experiment", "run")
    logger = (merged.get("trainer") or {}).get("logger") or {}
    devices = (merged.get("trainer") or {}).get("devices", 1)
    given = [arg.partition("=")[2] for arg in fit if arg.startswith("--trainer.devices=")]
    return {
        "experiment": f"sweeps/{experiment}",
        "save_dir": logger.get("init_args", {}).get("save_dir", "logs"),
        "has_ranks": str((given or [devices])[-1]) not in ("1", "auto"),
        "text": yaml.safe_dump(merged, sort_keys=False),
    }


def _task(point: Point, fit: list[str], experiment: Path, keep: Keep, base: dict[str, Any]) -> Task:
    name = f"{base['experiment']}/{point.label}"
    own = ["--trainer.enable_progress_bar=false", "--continue", f"--experiment={name}"]
    arguments = (*fit, *point.arguments, *own)
    return Task(arguments, experiment / point.label, keep, base["has_ranks"])


def _check_definition(experiment: Path, fit: list[str]) -> None:
    """Refuse to add points of another configuration to a sweep."""
    definition = yaml.safe_dump({"fit": [a for a in fit if a not in ("--config",)],
                                 "contents": check_files(fit)}, sort_keys=False)  # fmt: skip
    path = experiment / SWEEP
    if path.is_file():
        same = path.read_text(encoding="utf-8") == definition
        remedy = "give --experiment NAME for another sweep, or remove the folder"
        require(same, "experiment", experiment, "holds a sweep of another configuration", remedy)
        return
    write_atomically(path, lambda p: p.write_text(definition, encoding="utf-8"))


def _workers(options: argparse.Namespace) -> Workers | None:
    """Return who does the runs; None does them here, one after the other."""
    if options.part is not None:
        alone = options.engine is None and options.workers in (None, 1)
        require(alone, "part", options.part, "runs here; remove --engine and --workers")
        return None
    return workers(
        options.engine,
        cores() if options.workers is None else options.workers,
        options.engine_options,
    )


def _show(points: list[Point], tasks: dict[str, Task]) -> int:
    done = 0
    for point in points:
        is_done = finished(tasks[point.label].folder) is not None
        done += is_done
        print(f"{'done   ' if is_done else 'missing'}  {point.label}")
    print(f"{len(points)} points, {done} done")
    return 0


def _failures(outcomes: dict[str, Outcome]) -> int:
    failed = {label: o for label, o in outcomes.items() if o.state == "failed"}
    if not failed:
        return 0
    print(f"{len(failed)} of {len(outcomes)} points failed:", file=sys.stderr)
    for label, outcome in failed.items():
        print(f"  {label}: {outcome.sentence}", file=sys.stderr)
    return 1
