"""How signals and gradients pass the layers of any module, by forward-mode derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from lightning_landscape.arguments import checked
from lightning_landscape.errors import UsageError, require
from lightning_landscape.observables.wide_networks._functions import Called, Functions
from lightning_landscape.observables.wide_networks.module_layers import (
    LayerInfo,
    Passage,
    described,
    known_activation,
    layers_of,
    replaced,
)
from lightning_landscape.observables.wide_networks.signal_propagation import (
    LayerSums,
    Signals,
    summarized,
)
from lightning_landscape.rng import Stream

__all__ = ["module_signals"]


@checked
def module_signals(
    module: nn.Module,
    run: Callable[[], Any],
    layers: Sequence[str] | None = None,
    activation: str = "",
    seed: int = 0,
) -> tuple[Signals, list[LayerInfo]]:
    r"""Return how signals and gradients pass a module, and its layers, in the order of execution.

    At each layer the tangent of its output z is set, to z itself in a first pass and to a random v
    in a second; what arrives at the next layer is J z and J v. With means over neurons, positions
    and samples, chi_parallel = <z' J z> / <z^2> and chi_perp = <(J v)^2> / <v^2>, as in `signals`.
    A layer that is called more than once is measured at its first call. The first axis of z is
    that of the samples, over which the errors are.

    The tangent of a signal that bypasses a layer is not the one that was set there: where skip
    connections are outside of repeated blocks, name the modules whose output is the whole signal.

    Cost: two evaluations of ``run``, with as much memory again for the tangents.

    Args:
        module: any.
        run: evaluates it, once, by calls of its submodules: its forward pass or its loss.
        layers: names of submodules; None takes those of `layers_of`.
        activation: to assume where a signal changes between modules, by functions; by default
            they are those of torch, by name.
        seed: of the random directions.

    Raises:
        UsageError: layers are fewer than two, are not reached by ``run``, or an operation has no
            forward-mode derivative.

    >>> net = nn.Sequential(nn.Linear(3, 500), nn.ReLU(), nn.Linear(500, 500))
    >>> found, infos = module_signals(net, lambda: net(torch.ones(1, 3)))
    >>> infos[0].activation, found.K.shape
    ('relu', torch.Size([1, 2]))
    """
    places = layers_of(module, layers)
    assumed = known_activation(activation)
    try:
        radial, random = _passed(module, run, places, assumed, seed)
    except UsageError:
        # rules that torch compiles in a second, for a few operations; make_dual always loads them
        from torch._decomp import decompositions_for_jvp  # noqa: F401

        radial, random = _passed(module, run, places, assumed, seed)
    require(len(radial.infos) >= 2, "layers", [*places], "fewer than two of them are evaluated")
    parts = zip(radial.K, radial.arriving, random.arriving, random.set, strict=True)
    sums = [LayerSums(K, zJz, JvJv, vv) for K, zJz, JvJv, vv in parts]
    return summarized(sums), radial.infos


def _passed(
    module: nn.Module, run: Callable[[], Any], places: dict[str, nn.Module], assumed: str, seed: int
) -> tuple[_Tangents, _Tangents]:
    """Return what arrives at the layers of z, and of random directions."""
    radial, random = _Tangents(None), _Tangents(Stream(seed, "directions of signals"))
    with _watched(module, places, radial, Passage(assumed)):
        _evaluate(run)
    with _watched(module, places, random, None):
        _evaluate(run)
    return radial, random


def _evaluate(run: Callable[[], Any]) -> None:
    try:
        with forward_ad.dual_level(), warnings.catch_warnings():
            # torch loads some of its rules in a way that it calls deprecated
            warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
            run()
    except (NotImplementedError, RuntimeError) as error:
        if "forward" in str(error) and ("AD" in str(error) or "mode" in str(error)):
            reason = str(error).splitlines()[0]
            raise UsageError(f"module: an operation has no forward-mode derivative: {reason}")  # noqa: B904
        raise


class _Tangents:
    """Sets the tangent at each layer and takes up what arrives at the next: z, or random ones."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream
        self.K: list[Tensor] = []
        self.arriving: list[Tensor] = []
        self.set: list[Tensor] = []
        self.infos: list[LayerInfo] = []

    def pass_on(self, output: Tensor) -> Tensor:
        """Return the output with a tangent of its own."""
        primal, arriving = forward_ad.unpack_dual(output)
        z = primal.detach()
        v = self._direction(z)
        J = torch.zeros_like(z) if arriving is None else arriving.detach()
        self.K.append(_mean(z * z))
        self.arriving.append(_mean(z * J if self._stream is None else J * J))
        self.set.append(_mean(v * v))
        dual: Tensor = torch._VF._make_dual(primal, v, level=0)
        return dual

    def _direction(self, z: Tensor) -> Tensor:
        if self._stream is None:
            return z.clone()  # an activation in place would change it
        numbers = torch.empty(z.shape, dtype=torch.float32)
        return self._stream.normal_(numbers, len(self.K)).to(z)


@contextmanager
def _watched(
    module: nn.Module, places: dict[str, nn.Module], tangents: _Tangents, passage: Passage | None
) -> Iterator[None]:
    """Set tangents at the layers, and note in ``passage`` what is between them."""
    names = {part: name for name, part in places.items()}
    seen: set[nn.Module] = set()

    inside: list[nn.Module] = []  # what is called within a watched module is its own affair

    def before(part: nn.Module, inputs: tuple[Any, ...]) -> None:
        if passage is not None and not inside:
            passage.enter(inputs)
        inside.append(part)

    def after(part: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        inside.pop()
        z = _first(output)
        if part in names and part not in seen and z is not None:
            seen.add(part)
            if passage is not None:
                if tangents.infos:
                    tangents.infos[-1] = passage.info(tangents.infos[-1])
                tangents.infos.append(described(names[part], part))
            output = replaced(output, tangents.pass_on(z))
            if passage is not None:
                passage.leave(None, _first(output))
            return output
        if passage is not None and not inside:
            passage.leave(part, output)
        return None

    def called(function: Called | None, inputs: list[Tensor], output: Tensor) -> None:
        if passage is not None and not inside:
            passage.call(function, inputs, output)

    watched = [part for part in module.modules() if part in names or not any(part.children())]
    named = passage is not None and not passage.assumed
    handles: list[Any] = []
    try:
        for part in watched:
            handles.append(part.register_forward_pre_hook(before))
            handles.append(part.register_forward_hook(after))
        with Functions(called) if named else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any) -> Tensor | None:
    """Return the tensor of real numbers that a layer has returned, alone or before others."""
    x = output[0] if isinstance(output, tuple) and output else output
    return x if isinstance(x, Tensor) and x.is_floating_point() and x.dim() >= 2 else None


def _mean(a: Tensor) -> Tensor:
    """Return the mean over all but the samples, (1, P)."""
    return a.double().flatten(1).mean(1).unsqueeze(0)
