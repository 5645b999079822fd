"""Mean and variance of per-sample gradients of any module, from what its layers take and return."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from lightning_landscape.observables.gradient_noise.moments import Moments
from lightning_landscape.observables.gradient_noise.rules import RULES, Layout

__all__ = ["Losses", "Plan", "factored_moments", "plan_of"]

Losses = Callable[[Sequence[Tensor], Tensor], Tensor]
"""The losses of n samples, shape (n,), as a function of the parameters of one network and rows."""

_TRIED = 3
_TOLERANCE = 1e-3


class _Use(NamedTuple):
    """One call of a function that has a rule.

    Attributes:
        function: of `RULES`.
        call: its arguments by name.
        parameters: the index of its parameter for each name of an argument.
        slope: the gradient of the losses in its output, once there is one.
    """

    function: Callable[..., Any]
    call: dict[str, Any]
    parameters: dict[str, int]
    slope: list[Tensor]

    def moments(self, layout: Layout, n: int) -> dict[int, Moments]:
        """Return the moments of its parameters, by index."""
        of_names = RULES[self.function].moments(self.call, self.slope[0], layout, n)
        return {k: of_names[name] for name, k in self.parameters.items()}


class _Recorder(TorchFunctionMode):
    """Notes every call that takes a parameter."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        super().__init__()
        self._index = {id(p): k for k, p in enumerate(parameters)}
        self.uses: list[_Use] = []
        self.times_used = [0] * len(parameters)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _COMPOSED:
            with self:
                return _COMPOSED[func](*args, **kwargs)
        output = func(*args, **kwargs)
        taken = [k for t in _tensors((args, kwargs)) if (k := self._index.get(id(t))) is not None]
        if taken and next(_tensors(output), None) is not None:  # not only a shape
            for k in taken:
                self.times_used[k] += 1
            if func in RULES:
                self._note(func, dict(zip(RULES[func].names, args, strict=False)) | kwargs, output)
        return output

    def _note(self, func: Callable[..., Any], call: dict[str, Any], output: Tensor) -> None:
        found = {name: self._index.get(id(call.get(name))) for name in ("weight", "bias")}
        own = {name: k for name, k in found.items() if k is not None}
        call = {key: v.detach() if isinstance(v, Tensor) else v for key, v in call.items()}
        use = _Use(func, call, own, [])
        output.register_hook(use.slope.append)  # of this output, before it is changed in place
        self.uses.append(use)


def _tensors(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, list | tuple):
        for each in nested:
            yield from _tensors(each)
    elif isinstance(nested, dict):
        yield from _tensors(tuple(nested.values()))


def _opened(function: Any) -> Callable[..., Any]:
    """Return the function without its own question for modes, so that its parts are seen."""
    names = {**function.__globals__, "has_torch_function": lambda tensors: False}
    opened = types.FunctionType(function.__code__, names, function.__name__)
    opened.__defaults__, opened.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return opened


_COMPOSED = {F.multi_head_attention_forward: _opened(F.multi_head_attention_forward)}


class Plan(NamedTuple):
    """How the gradients of each parameter of a module are had.

    Attributes:
        layouts: for each recorded call, in order, where its samples are; None where the call is
            not understood, or one of its parameters is used elsewhere too.
        left: indices of the parameters that are differentiated sample by sample.
        held: the most numbers that are held for one sample at a time.
    """

    layouts: tuple[Layout | None, ...]
    left: tuple[int, ...]
    held: int


def plan_of(losses: Losses, parameters: Sequence[Tensor], rows: Tensor) -> Plan:
    """Try three samples: find where each layer has them, and hold it against `torch.func`.

    A parameter is left to `torch.func` where it is used twice, or by a function without a rule,
    or where no place of the samples gives the squared deviations of three gradients that are taken
    one by one.

    Cost: some ten gradients of three samples.
    """
    rows, every = rows[:_TRIED], range(len(parameters))
    truth = dict(zip(every, _one_by_one(losses, parameters, every, rows), strict=True))
    recorder = _record(losses, parameters, rows)
    layouts = []
    for use in recorder.uses:
        once = all(recorder.times_used[k] == 1 for k in use.parameters.values())
        layouts.append(_layout(use, truth, len(rows)) if once and use.slope else None)
    known = [use for use, layout in zip(recorder.uses, layouts, strict=True) if layout is not None]
    found = {k for use in known for k in use.parameters.values()}
    left = tuple(k for k in every if k not in found)
    held = [RULES[use.function].held(use.call, len(rows)) for use in known]
    return Plan(tuple(layouts), left, max(sum(parameters[k].numel() for k in left), *held, 0))


def _layout(use: _Use, truth: dict[int, Moments], n: int) -> Layout | None:
    """Return the place of the samples that gives the true squared deviations."""
    for axis in range(RULES[use.function].axes(use.call)):
        if use.call["input"].shape[axis] % n == 0:
            for outermost in (True, False):
                layout = Layout(axis, outermost)
                moments = use.moments(layout, n)
                if all(_agree(m.squares, truth[k].squares) for k, m in moments.items()):
                    return layout
    return None


def _agree(squares: Tensor, truth: Tensor) -> bool:
    scale = float(truth.max())
    return scale > 0 and bool((squares - truth).abs().max() <= _TOLERANCE * scale)


def factored_moments(
    losses: Losses, parameters: Sequence[Tensor], rows: Tensor, plan: Plan
) -> Moments:
    """Return the moments of the gradients of the samples ``rows``, shape (1, N).

    Cost: one gradient and, for each layer, what its rule takes, about as much again; and for the
    parameters that are left, a gradient of each sample by `torch.func`.
    """
    parts: dict[int, Moments] = {}
    if any(plan.layouts):
        recorder = _record(losses, parameters, rows)
        for use, layout in zip(recorder.uses, plan.layouts, strict=True):
            if layout is not None:
                parts |= use.moments(layout, len(rows))
    if plan.left:
        left = _one_by_one(losses, parameters, plan.left, rows)
        parts |= dict(zip(plan.left, left, strict=True))
    ordered = [parts[k] for k in range(len(parameters))]
    mean, squares = (
        torch.cat([getattr(part, name) for part in ordered], dim=1) for name in ("mean", "squares")
    )
    return Moments(len(rows), mean, squares)


def _record(losses: Losses, parameters: Sequence[Tensor], rows: Tensor) -> _Recorder:
    leaves = [p.detach().requires_grad_() for p in parameters]
    recorder = _Recorder(leaves)
    with torch.enable_grad():
        with recorder:
            total = losses(leaves, rows).sum()
        torch.autograd.grad(total, leaves, allow_unused=True)
    return recorder


def _one_by_one(
    losses: Losses, parameters: Sequence[Tensor], which: Sequence[int], rows: Tensor
) -> list[Moments]:
    """Return the moments of the parameters ``which``, by `torch.func`."""
    leaves = [p.detach() for p in parameters]

    def of_sample(some: tuple[Tensor, ...], row: Tensor) -> Tensor:
        every = list(leaves)
        for k, p in zip(which, some, strict=True):
            every[k] = p
        return losses(every, row.unsqueeze(0)).sum()

    some = tuple(leaves[k] for k in which)
    with sdpa_kernel(SDPBackend.MATH):  # the one that vmap knows
        gradients = torch.func.vmap(torch.func.grad(of_sample), in_dims=(None, 0))(some, rows)
    return [Moments.of(g.flatten(1).unsqueeze(1)) for g in gradients]
