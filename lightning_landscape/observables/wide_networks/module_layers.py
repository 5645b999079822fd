"""Which layers a module has, and what its signals pass on the way from one to the next."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from lightning_landscape.activations import ACTIVATIONS, Activation
from lightning_landscape.arguments import checked
from lightning_landscape.errors import UsageError, nearest, require
from lightning_landscape.observables.wide_networks._functions import Called

__all__ = ["LayerInfo", "Passage", "described", "known_activation", "layers_of", "replaced"]

_NORMS = (
    nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm,
)  # fmt: skip
_NAMES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu", nn.Tanh: "tanh", nn.GELU: "gelu", nn.SiLU: "swish", nn.SELU: "selu",
    nn.Softsign: "softsign", nn.Hardswish: "hard_swish", nn.Mish: "mish", nn.Sigmoid: "sigmoid",
}  # fmt: skip
_STANDARD = {
    nn.LeakyReLU: ("leaky_relu", "negative_slope", 0.01),
    nn.ELU: ("elu", "alpha", 1.0),
    nn.Softplus: ("softplus", "beta", 1.0),
}
_TRANSPARENT = (nn.Identity, nn.Flatten, nn.Unflatten)


@dataclass(frozen=True)
class LayerInfo:
    """A layer of a module, and what its output passes on the way to the next layer.

    Attributes:
        name: of the submodule.
        kind: its class.
        fan_in: inputs of a neuron; 0 where the layer is a block.
        width: neurons or channels; 0 where the layer is a block.
        weight_variance: C_W, the mean of W^2 times the fan-in; nan for a block.
        bias_variance: C_b, the mean of b^2.
        passes: what is between this layer and the next: classes of modules, names of functions.
        activation: the one activation of those, a key of `ACTIVATIONS`; empty where it is not
            known, or where more than an activation and a normalisation is in between.
        nonlinearity: the one activation of those, whatever else is in between, or empty.
        norm: the class of the normalisation in front of the activation, or empty.
        normalized: the variance to which it sets its output, mean gamma^2 + beta^2; else nan.
        keep: the probability with which dropout keeps a neuron.
        contains: the classes of normalisation and attention within a block.
    """

    name: str
    kind: str
    fan_in: int = 0
    width: int = 0
    weight_variance: float = math.nan
    bias_variance: float = math.nan
    passes: tuple[str, ...] = ()
    activation: str = ""
    nonlinearity: str = ""
    norm: str = ""
    normalized: float = math.nan
    keep: float = 1.0
    contains: tuple[str, ...] = ()


@checked
def layers_of(module: nn.Module, names: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """Return the layers at which to measure, by name, in the order of registration.

    Where the module repeats a block, two or more of one class in a `Sequential` or `ModuleList`,
    these are the blocks, whose output is all that goes on, skip connections included, and the
    linear maps and convolutions outside of them. Otherwise they are the linear maps and
    convolutions.

    Args:
        module: any.
        names: of submodules to measure at instead.

    Raises:
        UsageError: there is no such submodule, or there are fewer than two layers.
    """
    known = dict(module.named_modules())
    if names is not None:
        for name in names:
            required = f"is no submodule of {type(module).__name__}{nearest(name, known)}"
            require(name in known, "layers", name, required)
        found = {name: known[name] for name in names}
    else:
        blocks = _blocks(known)
        found = {
            name: part
            for name, part in known.items()
            if name in blocks
            or (_is_affine(part) and not any(name.startswith(f"{b}.") for b in blocks))
        }
    required = "must have at least two linear maps, convolutions or repeated blocks"
    remedy = "name the submodules to measure at in layers"
    require(len(found) >= 2, "module", type(module).__name__, required, remedy)
    return found


def _is_special(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) or "attention" in type(module).__name__.lower()


def _is_affine(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.modules.conv._ConvNd)


def _blocks(known: dict[str, nn.Module]) -> set[str]:
    """Return the outermost repeated blocks."""
    found: set[str] = set()
    for name, container in known.items():
        if not isinstance(container, nn.Sequential | nn.ModuleList):
            continue
        if any(name.startswith(f"{block}.") for block in found):
            continue
        children = dict(container.named_children())
        # a stack of stages, each a Sequential of blocks, is looked into
        kinds = Counter(
            type(part)
            for part in children.values()
            if any(True for _ in part.children())
            and not isinstance(part, nn.Sequential | nn.ModuleList)
            and sum(_is_affine(inner) for inner in part.modules()) >= 2
        )
        for child, part in children.items():
            if kinds[type(part)] >= 2 or (kinds[type(part)] and found):
                found.add(f"{name}.{child}" if name else child)
    return found


def _activation(module: nn.Module) -> str | None:
    """Return the name of an activation; None where the module is none of ours or torch's."""
    sigma = getattr(module, "sigma", None)
    if isinstance(sigma, Activation):
        return sigma.name
    if type(module) in _STANDARD:
        name, option, value = _STANDARD[type(module)]
        return name if getattr(module, option) == value else None
    return _NAMES.get(type(module))


@dataclass
class Passage:
    """What has been passed since the last layer; `info` describes it.

    Attributes:
        assumed: the activation to assume where a signal changed outside of any module; functions
            are named where there is none.
    """

    assumed: str = ""
    modules: list[nn.Module | Called | None] = field(default_factory=list)
    last: Tensor | None = None

    def enter(self, inputs: tuple[object, ...]) -> None:
        """Note a function between modules, whose output is not what a module has returned."""
        x = next((x for x in inputs if isinstance(x, Tensor)), None)
        if self.last is not None and x is not None and not _shares(self.last, x):
            self.modules.append(None)

    def call(self, function: Called | None, inputs: list[Tensor], output: Tensor) -> None:
        """Note a function of the signal; None is one that changes no value."""
        if self.last is None or not any(_shares(self.last, x) for x in inputs):
            return
        if function is not None:
            self.modules.append(function)
        self.last = output

    def leave(self, module: nn.Module | None, output: object) -> None:
        """Note a module that has returned; None begins anew after a layer."""
        if module is None:
            self.modules = []
        else:
            self.modules.append(module)
        self.last = output if isinstance(output, Tensor) else None

    def info(self, info: LayerInfo) -> LayerInfo:
        """Return what is known of the way from the last layer to this moment."""
        passes = tuple(_name_of(m) for m in self.modules)
        norm, keep, normalized, known = "", 1.0, math.nan, info.fan_in > 0
        names: list[str] = []
        for m in self.modules:
            found = self._activation_of(m)
            if found:
                names.append(found)
            elif isinstance(m, _NORMS):
                known, norm = known and not names and not norm, type(m).__name__
                normalized = _variance_after(m)
            elif isinstance(m, nn.modules.dropout._DropoutNd):
                keep *= 1 - m.p if m.training else 1.0
            else:
                known = known and isinstance(m, _TRANSPARENT)
        name = names[0] if len(names) == 1 else ""
        known = known and len(names) < 2
        return replace(
            info,
            passes=passes,
            activation=(name or "linear") if known else "",
            nonlinearity=name,
            norm=norm,
            normalized=normalized,
            keep=keep,
        )

    def _activation_of(self, m: nn.Module | Called | None) -> str | None:
        if isinstance(m, Called):
            return m.activation
        return self.assumed if m is None else _activation(m)


def _name_of(m: nn.Module | Called | None) -> str:
    if isinstance(m, Called):
        return m.name
    return "function" if m is None else type(m).__name__


def described(name: str, module: nn.Module) -> LayerInfo:
    """Return what a layer is, before it is known what follows."""
    if not _is_affine(module):
        inside = sorted({type(part).__name__ for part in module.modules() if _is_special(part)})
        return LayerInfo(name, type(module).__name__, contains=tuple(inside))
    weight, bias = module.weight, module.bias
    if not isinstance(weight, Tensor):
        raise UsageError(f"layer {name} = {type(module).__name__}: has no weight")
    transposed = getattr(module, "transposed", False)
    rows = weight.transpose(0, 1) if transposed else weight
    fan_in = rows[0].numel()
    squared = bias.detach().double().square().mean().item() if isinstance(bias, Tensor) else 0.0
    C_W = weight.detach().double().square().mean().item() * fan_in
    return LayerInfo(name, type(module).__name__, fan_in, rows.shape[0], C_W, squared)


def _variance_after(norm: nn.Module) -> float:
    """Return the mean of gamma^2 + beta^2."""
    total = 0.0
    for value, default in ((norm.weight, 1.0), (getattr(norm, "bias", None), 0.0)):
        mean = value.detach().double().square().mean().item() if isinstance(value, Tensor) else None
        total += default if mean is None else mean
    return total


def _shares(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def known_activation(name: str) -> str:
    """Return ``name``, or raise a `UsageError` if there is no such activation; empty is none."""
    required = f"must be one of {', '.join(ACTIVATIONS)}{nearest(name, ACTIVATIONS)}"
    require(not name or name in ACTIVATIONS, "activation", name, required)
    return name


def replaced(output: object, by: torch.Tensor) -> object:
    """Return the output of a module with its first tensor replaced."""
    if isinstance(output, Tensor):
        return by
    assert isinstance(output, tuple)
    return (by, *output[1:])
