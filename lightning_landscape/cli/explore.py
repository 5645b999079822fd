"""The verb explore: minima, transition states and saddles of landscapes, to a budget."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

# imported so that a configuration can use the short names of their classes
import lightning_landscape.data
import lightning_landscape.energies  # noqa: F401
from lightning_landscape.cli.fit import (
    LandscapeParser,
    add_choices,
    checked,
    quiet,
    with_packaged_config,
)
from lightning_landscape.cli.interrupts import ending_at_once
from lightning_landscape.cli.runs import Choice, claim, inside
from lightning_landscape.cli.study import add_engine, resolved
from lightning_landscape.energies.energy import Energy, HasData
from lightning_landscape.energies.regularized import WithL2
from lightning_landscape.errors import UsageError, require
from lightning_landscape.exploration import Database, Explorer, Landscape
from lightning_landscape.records import read, write
from lightning_landscape.results import summary as results
from lightning_landscape.results.quantities.exploration.landscapes import side_by_side
from lightning_landscape.results.registry import look_up
from lightning_landscape.studies import Workers
from lightning_landscape.studies.clusters import workers

__all__ = ["main"]

Task = tuple[Explorer, Path, dict[str, Any], int, int, int]
"""One landscape: the arguments of `_explore`."""


def main(args: list[str]) -> int:
    """Explore a landscape, or go on where the record of the run ends; print the table."""
    quiet()
    parser = _parser()
    config = parser.parse_args(checked(with_packaged_config(args[1:])))
    for name in ("quenches", "searches", "descents"):
        require(config[name] >= 0, name, config[name], "must be at least 0")
    made = parser.instantiate_classes(config)
    energies: list[Energy] = made.energy if isinstance(made.energy, list) else [made.energy]
    require(len(energies) > 0, "energy", [], "must be one energy, or more")
    every = [
        (energy, k)
        for energy in energies
        for k in (range(energy.replicas) if config.replica is None else [config.replica])
    ]
    explorers = [Explorer(Landscape(energy, k), **vars(made.search)) for energy, k in every]
    count = config.processes or (1 if config.engine == "processes" else len(every))
    engine = workers(config.engine, count, config.engine_options)
    choice: Choice = "new" if config.new else "continue" if config["continue"] else "ask"
    experiment = inside(config.save_dir, config.experiment)
    folder = claim(experiment, resolved(parser, config), choice)
    text = (folder.path / "config.yaml").read_text()
    budget = config.quenches, config.searches, config.descents
    records, several = folder.path / "probes", len(explorers) > 1
    tasks: list[Task] = []
    for number, ((energy, k), explorer) in enumerate(zip(every, explorers, strict=True)):
        known = _known(energy) | {"config": text}
        if several:
            known |= _label(energies, energy, k)
        file = f"exploration_{number}.nc" if several else "exploration.nc"
        tasks.append((explorer, records / file, known, *budget))
    with ending_at_once():  # the record is whole after every round
        _explore_all(tasks, engine)
        if several:
            parts = [read(records / f"exploration_{n}.nc") for n in range(len(explorers))]
            write(side_by_side(parts), records / "landscapes.nc")
    summary = results.summarize(folder.path)
    print(f"\n{summary.full if config['all'] else summary}\n")
    folder.finish(summary.full)
    return 0


def _explore_all(tasks: list[Task], workers: Workers) -> None:
    """Explore the landscapes, on several workers side by side.

    Raises:
        UsageError: a worker was killed.
    """
    if workers.count == 1 or len(tasks) == 1:
        for task in tasks:
            _explore(*task)
        return
    executor = workers.executor()
    try:
        for future in as_completed([executor.submit(_explore, *task) for task in tasks]):
            future.result()
    except BrokenExecutor:
        raise UsageError(
            f"processes = {workers.count}: one of them was killed, for lack of memory as a rule; "
            "the same command goes on where the records end"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _explore(
    explorer: Explorer,
    record: Path,
    known: dict[str, Any],
    quenches: int,
    searches: int,
    descents: int,
) -> None:
    """Explore one landscape from where its record ends; ``known`` goes into the record."""
    database = Database.read(record) if record.is_file() else explorer.empty()
    database.attributes |= known

    def save(database: Database) -> None:
        database.write(record)
        print(_progress(database), flush=True)

    ordered = explorer.run(quenches, searches, database, save, descents).sorted()
    dataset = ordered.to_dataset().assign(_held_out(explorer.landscape, ordered))
    write(look_up(dataset.attrs["probe"]).exact(dataset), record)


def _known(energy: Energy) -> dict[str, Any]:
    """Return what is known of a landscape, for the record."""
    known = {k: v for k, v in energy.reference().items() if isinstance(v, str | int | float)}
    return known | {"energy": type(energy).__name__, "N": energy.N}


def _label(energies: list[Energy], energy: Energy, replica: int) -> dict[str, str]:
    """Return what tells the landscape of a replica from all others, for the record."""
    parts = []
    if len(energies) > 1:
        sizes = [other.N for other in energies]
        alone = sizes.count(energy.N) == 1
        parts = [f"N = {energy.N}" if alone else f"energy {energies.index(energy)}"]
    if isinstance(energy, WithL2):
        parts.append(f"λ = {energy.strengths[replica].item():g}")
    elif energy.replicas > 1:
        parts.append(f"replica {replica}")
    of = ", ".join(parts)
    return {"of": of, "energy": f"{type(energy).__name__}, {of}"}


def _held_out(landscape: Landscape, database: Database) -> dict[str, Any]:
    """Return loss and accuracy of each minimum on held-out data, where the energy has data."""
    if not isinstance(landscape.energy, HasData) or not len(database.minima):
        return {}
    energy = landscape.at(torch.from_numpy(database.minima.x))
    assert isinstance(energy, HasData)
    measured = energy.evaluate("test").items()
    return {f"minimum_test_{name}": ("minimum", value.numpy()) for name, value in measured}


def _parser() -> LandscapeParser:
    parser = LandscapeParser(
        prog="python -m lightning_landscape explore", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="A file with these options.")
    parser.add_argument("--save_dir", type=str, default="logs", help="Folder that holds the runs.")
    parser.add_argument(
        "--experiment", type=str, default="explore", help="Folder of the run under save_dir."
    )
    parser.add_argument(
        "--energy",
        type=Energy | list[Energy],
        required=True,
        help="The landscape, in float64; or a list of them, explored one after the other.",
    )
    parser.add_argument(
        "--replica",
        type=int | None,
        default=None,
        help="Whose landscape is explored; by default that of every replica, one after the other.",
    )
    parser.add_argument("--quenches", type=int, default=200, help="From random starts.")
    parser.add_argument("--searches", type=int, default=500, help="For transition states.")
    parser.add_argument(
        "--descents", type=int, default=0, help="Of the squared gradient, to saddles of any index."
    )
    parser.add_argument(
        "--processes",
        type=int | None,
        default=None,
        help="Number of processes that share several landscapes out; by default this one alone, "
        "and one for each landscape with another engine.",
    )
    add_engine(parser)
    parser.add_class_arguments(
        Explorer, "search", skip={"landscape", "identity"}, instantiate=False
    )
    add_choices(parser)
    return parser


def _progress(database: Database) -> str:
    done = f"{database.quenches} quenches, {database.searches} searches"
    found = f"{len(database.minima)} minima, {len(database.transition_states)} transition states"
    if database.descents:
        done, found = (
            f"{done}, {database.descents} descents",
            f"{found}, {len(database.saddles)} saddles",
        )
    return f"{done}: {found}"
