"""The verb criticality: whether signals and gradients keep their size in a network."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import Tensor, nn

from lightning_landscape import records
from lightning_landscape.cli.refusals import as_usage_error
from lightning_landscape.cli.trusted import import_named
from lightning_landscape.errors import UsageError, require, require_whole

if TYPE_CHECKING:
    from xarray import Dataset

    from lightning_landscape.observables.wide_networks import LayerInfo, Signals

__all__ = ["main"]

Measured = tuple["Signals", "list[list[LayerInfo]]", int]
"""Signals and layers of the networks, and N."""

_EPILOG = """\
Of an architecture:   criticality --widths 64 256 256 256 10 --activation tanh
Of your own module:   criticality --module my_project.model:Net --data 3x32x32
                      criticality --module my_project.model:Net --data my_project.data:loader

What --module and --data name is imported and run: name only code that you trust.
"""


def main(args: list[str]) -> int:
    """Measure K and both susceptibilities layer by layer; print the table and a verdict."""
    options = _parser().parse_args(args[1:])
    for name in ("seeds", "samples"):
        require_whole(name, getattr(options, name))
    require(options.seed >= 0, "seed", options.seed, "must be at least 0")
    given = (options.module is None) + (options.widths is None)
    remedy = "give --widths with --activation, or --module with --data"
    require(given == 1, "module", options.module, "give either a module or widths", remedy)

    from lightning_landscape.results.quantities.wide_networks.verdict import (
        table_and_verdict,
    )
    from lightning_landscape.results.registry import look_up

    found = _of_widths(options) if options.module is None else _of_module(options)
    dataset = look_up("Criticality").exact(_record(*found, options))
    print(f"\n{table_and_verdict(dataset)}\n")
    if options.save is not None:
        _save(dataset, options.save)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape criticality",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--widths", type=int, nargs="+", help="inputs, hidden widths, outputs")
    add("--activation", default="", help="of --widths; in a module, that called as a function")
    add("--weight_variance", type=float, help="C_W; by default the critical one")
    add("--bias_variance", type=float, help="C_b; by default the critical one")
    add("--skip", type=float, default=0.0, help="gamma, of skip connections between hidden layers")
    add("--module", help="path:Class of an nn.Module or LightningModule, or of what makes one")
    add("--init", type=yaml.safe_load, default={}, help="its arguments, as {name: value, …}")
    add("--data", help="shape of a sample, as 3x32x32, or path:name of data or what makes them")
    add("--layers", nargs="+", help="submodules to measure at; by default blocks or linear maps")
    add("--seeds", type=int, default=8, help="how many networks to draw")
    add("--samples", type=int, default=64, help="how many inputs, at most")
    add("--seed", type=int, default=0, help="of networks and normal inputs")
    add("--save", type=Path, help="a folder for the record and the figure")
    return parser


def _of_widths(options: argparse.Namespace) -> Measured:
    from lightning_landscape.callbacks.probes.wide_networks.criticality import measured
    from lightning_landscape.energies.networks.architectures import FullyConnected

    require(len(options.widths) >= 3, "widths", options.widths, "must have a hidden layer")
    net = FullyConnected(
        options.widths,
        options.activation or "relu",
        replicas=options.seeds,
        seed=options.seed,
        weight_variance=options.weight_variance,
        bias_variance=options.bias_variance,
        skip=options.skip,
    )
    x = _normal((options.widths[0],), options)
    x *= options.widths[0] ** 0.5 / x.norm(dim=1, keepdim=True)  # one K of the first layer for all
    return *measured(net, x, options.seed), sum(p[0].numel() for p in net.parameters())


def _of_module(options: argparse.Namespace) -> Measured:
    from lightning_landscape.callbacks.measuring import measuring
    from lightning_landscape.observables.wide_networks import Signals, module_signals

    require(isinstance(options.init, dict), "init", options.init, "must be {name: value, …}")
    make = partial(import_named("module", options.module), **options.init)
    x = _inputs(options)
    found, infos = [], []
    for r in range(options.seeds):
        module = _made(make, options.seed + r)
        with measuring(module), torch.no_grad():
            try:
                how = options.layers, options.activation, options.seed
                of_one, layers = module_signals(module, partial(module, x), *how)
            except NotImplementedError as error:
                raise UsageError(
                    f"module = {options.module}: has no forward(inputs); measure it in a run of "
                    "yours, by the probe Criticality among its callbacks"
                ) from error
            except (RuntimeError, TypeError, ValueError) as error:
                raise as_usage_error(error, {}, f"module = {options.module}") from error
        found.append(of_one)
        infos.append(layers)
    N = sum(p.numel() for p in module.parameters())
    return Signals(*(torch.cat(parts) for parts in zip(*found, strict=True))), infos, N


def _made(make: Callable[[], Any], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            module = make()
        except TypeError as error:
            raise as_usage_error(error, {}, "init") from error
    required = "must make an nn.Module, such as a LightningModule"
    require(isinstance(module, nn.Module), "module", type(module).__name__, required)
    return module


def _inputs(options: argparse.Namespace) -> Tensor:
    """Return inputs, shape (P, …): normal numbers, or the first tensor of a batch."""
    from lightning_landscape.callbacks.probes.wide_networks.tangent_kernel import inputs_of

    remedy = "give the shape of a sample, as 3x32x32, or path:name"
    require(options.data is not None, "data", options.data, "is needed with --module", remedy)
    if ":" not in options.data:
        sizes = options.data.split("x")
        right = all(size.isdigit() and int(size) > 0 for size in sizes)
        require(right, "data", options.data, "is no shape", remedy)
        return _normal(tuple(map(int, sizes)), options)
    data = import_named("data", options.data)
    data = data() if callable(data) else data
    if hasattr(data, "train_dataloader"):
        data.prepare_data()
        data.setup("fit")
        data = data.train_dataloader()
    if isinstance(data, Iterable) and not isinstance(data, Tensor | tuple | list | dict):
        data = next(iter(data))
    return inputs_of(data)[: options.samples]


def _normal(shape: tuple[int, ...], options: argparse.Namespace) -> Tensor:
    generator = torch.Generator().manual_seed(options.seed)
    return torch.randn(options.samples, *shape, generator=generator)


def _record(
    found: Signals, infos: list[list[LayerInfo]], N: int, options: argparse.Namespace
) -> Dataset:
    """Return a record as that of the probe, at time 0."""
    from dataclasses import asdict

    from xarray import Dataset

    dims = ("t", "replica", "layer")
    tables: dict[str, Any] = {name: (dims, x.numpy()[None]) for name, x in found._asdict().items()}
    for name in ("weight_variance", "bias_variance"):
        values = [[getattr(info, name) for info in layers] for layers in infos]
        tables[name] = (dims, [values])
    layers = [asdict(info) for info in infos[0]]
    attributes = {
        "probe": "Criticality",
        "N": N,
        "replicas": len(infos),
        "energy": options.module or "FullyConnected",
        "time_step": 1.0,
        "skip": options.skip,
        "layers": json.dumps(layers),
    }
    names = [info["name"] for info in layers]
    return Dataset(tables, {"t": [0.0], "layer": names}, attributes)


def _save(dataset: Dataset, folder: Path) -> None:
    from lightning_landscape.results.figures import draw

    record, picture = folder / "criticality.nc", folder / "criticality.png"
    records.write(dataset, record)
    figure = draw(dataset)
    assert figure is not None
    records.write_atomically(picture, partial(figure.savefig, format="png", dpi=150))
    print(f"record  {record}\nfigure  {picture}")
