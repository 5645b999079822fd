"""The verb surface: the loss on planes through checkpoints, and on paths between two of them."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from lightning_landscape.errors import nearest, require, require_whole

__all__ = ["main"]

_DIRECTIONS = ("random", "hessian")  # those of a trajectory need the whole run

_EPILOG = """\
Of a run of ours:     surface --checkpoint logs/digits/version_0
Of your own module:   surface --module my_project.model:Net --checkpoint epoch_9.ckpt \\
                              --data my_project.data:loader
Between two:          surface --checkpoint logs/digits/version_0 --to logs/digits/version_1

What --module and --data name is imported and run: name only code that you trust. Checkpoints are
read as numbers, and run nothing.
"""


def main(args: list[str]) -> int:
    """Measure, print the table, and write the record and the figure."""
    from lightning_landscape.callbacks.probes.surface import LossSurface
    from lightning_landscape.cli.fit import quiet
    from lightning_landscape.cli.spectrum import report

    options = _parser().parse_args(args[1:])
    require_whole("points", options.points)
    require(options.points >= 3, "points", options.points, "must be at least 3")
    admissible = f"must be {' or '.join(_DIRECTIONS)}{nearest(options.directions, _DIRECTIONS)}"
    require(options.directions in _DIRECTIONS, "directions", options.directions, admissible)
    require(options.images >= 0, "images", options.images, "must be at least 0")
    require_whole("steps", options.steps)
    own = options.module is None
    probe = LossSurface(
        directions=options.directions,
        dimensions=options.dimensions,
        points=options.points + 1 - options.points % 2,
        extent=options.extent,
        normalization=options.normalization,
        data=(options.data or "train") if own else "train",
        mode=options.mode,
        replica=options.replica,
        seed=options.seed,
    )
    quiet()
    from lightning_landscape.cli.surface.systems import system_of

    system = system_of(options, options.checkpoint)
    if options.to is not None:
        from lightning_landscape.cli.surface.between import between

        other = system_of(options, options.to)
        how = options.points, options.images, options.steps, options.replica, options.mode
        report(between(system, other, *how), system.folder / "path")
        return 0
    if system.loader is not None:
        probe.data = system.loader
    dataset = probe.record(system.view).assign_attrs(config=system.text)
    report(dataset, system.folder / f"{options.directions}_{system.view.step}")
    return 0


def _parser() -> argparse.ArgumentParser:
    from lightning_landscape.cli.fit import add_allow

    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape surface",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="a run folder, or a checkpoint")
    add("--to", type=Path, help="a second one, for the line and the elastic band between the two")
    add("--module", help="path:Class of a LightningModule, or of what makes one")
    add("--init", type=yaml.safe_load, default={}, help="its arguments, as {name: value, …}")
    add("--data", help="path:name of the loader of --module; train or val for a run of ours")
    add("--directions", default="random", help="of the surface: random or hessian")
    add("--dimensions", type=int, default=2, help="1 is a line, 2 a plane")
    add("--points", type=int, default=51, help="along each direction, or along the line")
    add("--extent", type=float, help="how far to go, in lengths of the directions")
    add("--normalization", help="of random directions: filter, layer or none")
    add("--mode", default="train", help="of --module: train or eval")
    add("--replica", type=int, default=0, help="of a run of ours")
    add("--seed", type=int, default=0, help="of random directions")
    add("--images", type=int, default=11, help="of the band between two checkpoints; 0 is none")
    add("--steps", type=int, default=200, help="of the band, at most")
    add("--save", type=Path, help="a folder for the record and the figure")
    add("--yes", action="store_true", help="use the configuration of a folder from elsewhere")
    add_allow(parser)
    return parser
