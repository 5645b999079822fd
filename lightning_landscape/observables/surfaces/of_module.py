"""The loss of any module on a cut, point by point."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_landscape.errors import require
from lightning_landscape.observables.surfaces._affine_layers import AffineLayers, Known
from lightning_landscape.observables.surfaces.cut import Cut

__all__ = ["LossAt", "loss_on", "with_parameters"]

LossAt = Callable[[Mapping[str, Tensor]], Tensor]
"""The loss, a scalar, as a function of parameters by name."""


def with_parameters(module: nn.Module, loss: Callable[[], Tensor]) -> LossAt:
    """Return the loss as a function of the parameters of a module, which keeps its own.

    Args:
        module: whose parameters are replaced while ``loss`` is called.
        loss: returns the loss of the module, a scalar.

    >>> net = nn.Linear(2, 1)
    >>> loss = with_parameters(net, lambda: net(torch.ones(2)).sum())
    >>> loss({"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.zeros(1)})
    tensor(7.)
    """
    called = _Called(module, loss)

    def loss_at(parameters: Mapping[str, Tensor]) -> Tensor:
        replaced = {f"module.{name}": value for name, value in parameters.items()}
        return functional_call(called, replaced, ())

    return loss_at


class _Called(nn.Module):
    def __init__(self, module: nn.Module, loss: Callable[[], Tensor]) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self) -> Tensor:
        """Return the loss."""
        return self.loss()


def loss_on(loss: LossAt, parameters: Mapping[str, Tensor], cut: Cut) -> Callable[[Tensor], Tensor]:
    """Return the function that gives the losses (B,) at coordinates (B, D) of a cut.

    One point after the other. What sees the same input at every point, such as the first layer,
    is computed once, see `AffineLayers`: for the loss of one batch of data call this once, and
    evaluate the whole grid before the next batch.

    Cost: an evaluation of the loss a point, without gradients. If the loss contains derivatives,
    gradients are on, and nothing is computed once. Memory: D + 2 copies of the parameters.

    Args:
        loss: a function of the parameters, see `with_parameters`.
        parameters: those that move, in the order of the coordinates of the cut.
        cut: in their space, N numbers.

    Raises:
        UsageError: a cut of another N.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> loss = with_parameters(net, lambda: net(torch.ones(2)).sum())
    >>> line = Cut(torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 1.0]]))
    >>> loss_on(loss, dict(net.named_parameters()), line)(torch.tensor([[0.0], [2.0]]))
    tensor([3., 7.])
    """
    N = sum(p.numel() for p in parameters.values())
    require(len(cut.origin) == N, "cut", f"of {len(cut.origin)} coordinates", f"must have {N}")
    terms = {name: [] for name in parameters}  # type: dict[str, list[Tensor]]
    for row in (cut.origin, *cut.directions):
        parts = row.split([p.numel() for p in parameters.values()])
        for (name, p), part in zip(parameters.items(), parts, strict=True):
            terms[name].append(part.view(p.shape).to(p))
    known: Known = {}
    needs_gradients = False

    def value(c: list[float]) -> Tensor:
        nonlocal needs_gradients
        names, columns = list(terms), list(zip(*terms.values(), strict=True))
        values = [part.clone() for part in columns[0]]
        for factor, column in zip(c, columns[1:], strict=True):
            torch._foreach_add_(values, list(column), alpha=factor)
        at = dict(zip(names, values, strict=True))
        if not needs_gradients:
            try:
                with torch.no_grad(), AffineLayers(c, at, terms, known):
                    return loss(at)
            except RuntimeError as error:
                if "require grad" not in str(error) and "grad_fn" not in str(error):
                    raise
                needs_gradients = True
        with torch.enable_grad():
            return loss({name: x.requires_grad_() for name, x in at.items()}).detach()

    def values(coordinates: Tensor) -> Tensor:
        return torch.stack([value(c).reshape(()) for c in coordinates.tolist()])

    return values
