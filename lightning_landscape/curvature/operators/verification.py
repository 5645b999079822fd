"""Whether automatic differentiation gives the derivatives that an energy has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.curvature.operators.evaluation import twice_differentiable
from lightning_landscape.errors import UsageError

__all__ = ["plain_errors", "require_complete_gradient", "require_measured_hessian"]

_STEPS = (1e-2, 1e-3, 1e-4)
_WRONG = 0.05
_CHECKPOINT = "CheckpointFunctionBackward"
_REMEDY = "checkpoint with use_reentrant=False, whose gradient torch.autograd.grad sees"
_KINKS = (
    "Relu",
    "Threshold",
    "Hard",
    "Max",
    "Min",
    "Clamp",
    "Abs",
    "Prelu",
    "Elu",
    "Sort",
    "Round",
)
_PHRASES = ("not implemented", "once_differentiable", "double backward", "double-backward")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what autograd says where a derivative is missing into a `UsageError`."""
    try:
        yield
    except RuntimeError as error:
        message = str(error).splitlines()[0] if str(error) else ""
        if "checkpoint" in message.lower() and "use_reentrant" in str(error):
            raise UsageError(
                f"energy: holds a reentrant checkpoint, which has no second derivative; {_REMEDY}"
            ) from error
        if any(phrase in str(error) for phrase in _PHRASES):
            raise UsageError(
                f"energy: an operation in it has no second derivative ({message}); "
                "replace it, or give a loss_fn that uses a plain form of it"
            ) from error
        raise


def require_complete_gradient(
    energy: Callable[[], Tensor],
    total: Tensor,
    parameters: Sequence[Tensor],
    gradient: Sequence[Tensor | None],
    names: Sequence[str],
) -> None:
    """Raise a `UsageError` if a parameter moves the energy by a path hidden from autograd.grad.

    A function with a backward of its own, as a reentrant checkpoint is one, may add to ``.grad``
    what `torch.autograd.grad` cannot see. So where the graph holds such functions, each parameter
    without a gradient is shifted, and the energy must stay. A reentrant checkpoint is refused in
    any case: a parameter that is also used outside of it would have half a gradient.

    Cost: a walk over the graph; one energy for each parameter without a gradient, in graphs that
    hold functions of Python.
    """
    own = _python_functions(total)
    once = [n for n in _nodes(*(g for g in gradient if g is not None)) if "Error" in n.name()]
    if own and once:
        raise UsageError(
            f"energy: {', '.join(sorted(own))} may be differentiated only once; "
            "use a plain form of it, or an energy(batch) or loss_fn that does"
        )
    missing = [k for k, g in enumerate(gradient) if g is None]
    if not own:
        return
    hidden = []
    state = torch.get_rng_state()
    with torch.no_grad():
        before = energy().sum() if missing else total
        for k in missing:
            torch.set_rng_state(state)
            with _moved([parameters[k]], [torch.ones_like(parameters[k])], 0.1):
                if not torch.equal(energy().sum(), before):
                    hidden.append(names[k])
    if hidden:
        raise UsageError(
            f"parameters = {', '.join(hidden)}: move the energy but get no gradient from "
            f"torch.autograd.grad, because {', '.join(sorted(own))} hides them; {_REMEDY}"
        )
    if _CHECKPOINT in own:
        raise UsageError(
            f"energy: holds a reentrant checkpoint, so its gradient may be incomplete; {_REMEDY}"
        )


def require_measured_hessian(
    energy: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    product: Callable[[list[Tensor]], list[Tensor]],
    names: Sequence[str],
) -> None:
    r"""Raise a `UsageError` if a product is not the measured change of the gradient.

    (g(x + eps v) - g(x - eps v)) / 2 eps = H v + O(eps^2)

    for random signs v times the root mean square of each parameter, parameter by parameter. One is
    wrong if the two sides differ by more than 5 % and the left side is the same for two values of
    eps, so that rounding does not decide. Where the graph has kinks (ReLU, maxima) the left side
    contains what H does not, the jumps of the gradient that v crosses, and only a product that
    vanishes altogether is wrong.

    The derivatives of PyTorch's own operations are right or missing with an error. So nothing is
    measured where the graph holds no function from elsewhere.

    Cost: one gradient; with functions from elsewhere, seven and a product.
    """
    graph = _graph(energy, parameters)
    if not _python_functions(graph):
        return
    generator = torch.Generator().manual_seed(0)
    v = [_direction(p, generator) for p in parameters]
    exact, kinks = product(v), _has_kinks(graph)
    state = torch.get_rng_state()
    measured = []
    for step in _STEPS:
        sides = []
        for sign in (1, -1):
            torch.set_rng_state(state)
            with _moved(parameters, v, sign * step):
                sides.append(_gradient(energy, parameters))
        measured.append([(a - b) / (2 * step) for a, b in zip(*sides, strict=True)])
    values = zip(exact, zip(*measured, strict=True), names, strict=True)
    wrong = [name for Hv, found, name in values if _differs(Hv, found, kinks)]
    if wrong:
        raise UsageError(
            f"energy: the second derivatives of {', '.join(wrong[:5])} are not those of its "
            "gradient; an operation in it has no double backward, so use a plain form of it "
            "(of a custom kernel, of attention), or an energy(batch) or loss_fn that does"
        )


def _direction(p: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(2, p.shape, generator=generator).to(p) * 2 - 1
    return signs * p.detach().square().mean().sqrt().clamp(min=1e-2)


def _differs(Hv: Tensor, measured: Sequence[Tensor], kinks: bool) -> bool:
    """Whether two successive measurements agree with each other and not with ``Hv``."""
    norm = torch.linalg.vector_norm
    if kinks and Hv.any():
        return False
    for one, other in pairwise(measured):
        distance = torch.minimum(norm(one - Hv), norm(other - Hv))
        size = torch.maximum(norm(one), norm(Hv))
        if distance > _WRONG * size and norm(one - other) < distance / 3:
            return True
    return False


def _gradient(energy: Callable[[], Tensor], parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    with twice_differentiable(parameters[0].device):
        total = energy().sum()
        return torch.autograd.grad(total, parameters, materialize_grads=True)


@contextmanager
def _moved(parameters: Sequence[Tensor], v: Sequence[Tensor], step: float) -> Iterator[None]:
    """Let the body see x + step v; through ``data``, so that graphs of x stay valid."""
    before = [p.detach().clone() for p in parameters]
    try:
        for p, direction in zip(parameters, v, strict=True):
            p.data.add_(direction, alpha=step)
        yield
    finally:
        for p, x in zip(parameters, before, strict=True):
            p.data.copy_(x)


def _graph(energy: Callable[[], Tensor], parameters: Sequence[Tensor]) -> Tensor:
    with twice_differentiable(parameters[0].device):
        return energy().sum()


def _nodes(*tensors: Tensor) -> Iterator[Any]:
    seen, stack = set(), [t.grad_fn for t in tensors]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack.extend(following for following, _ in node.next_functions)
            yield node


def _python_functions(total: Tensor) -> set[str]:
    """Return the names of the functions in a graph whose backward is not PyTorch's own."""
    own = torch.autograd.function.BackwardCFunction
    nodes = _nodes(total)
    return {n.name() for n in nodes if isinstance(n, own) or "CppNode" in n.name()}


def _has_kinks(total: Tensor) -> bool:
    return any(kink in node.name() for node in _nodes(total) for kink in _KINKS)
