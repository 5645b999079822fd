"""The loss of any module on a cut, several points at once where its code allows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require
from lightning_landscape.observables.surfaces._affine_layers import Known, Point
from lightning_landscape.observables.surfaces.cut import Cut

__all__ = ["LossAt", "loss_on", "with_parameters"]

# together: points, and numbers that are made for them; more numbers leave the cache
_MOST_POINTS, _MOST_NUMBERS = 64, 2**20

LossAt = Callable[[Mapping[str, Tensor]], Tensor]
"""The loss, a scalar, as a function of parameters by name."""


@checked
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


@checked
def loss_on(loss: LossAt, parameters: Mapping[str, Tensor], cut: Cut) -> Callable[[Tensor], Tensor]:
    """Return the function that gives the losses (B,) at coordinates (B, D) of a cut.

    Up to 64 points together by `torch.func.vmap`, of 10^6 numbers in all, if the first two agree
    with those one after the other; code that branches on numbers, writes into buffers or calls
    ``.item()`` goes one after the other. Linear and convolutional layers that see the same input at
    every point, as the first layer does, are multiplied once for the whole cut: for the loss of one
    batch of data call this once, and evaluate the whole grid before the next batch.

    Cost: an evaluation of the loss a point, without gradients, less the first layer. If the loss
    contains derivatives, gradients are on, and nothing is computed once. Memory: D + 2 copies of
    the parameters and of the outputs of the first layer, and what the points together take.

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
    shapes = {name: (1 + cut.dimensions, *p.shape) for name, p in parameters.items()}
    rows = torch.cat([cut.origin[None], cut.directions])
    parts = rows.split([p.numel() for p in parameters.values()], dim=1)
    terms = {
        name: part.reshape(shape).to(parameters[name])
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
    return _OnCut(loss, terms)


class _OnCut:
    """The losses (B,) at coordinates (B, D): points together, or one after the other.

    Args:
        loss: a function of the parameters.
        terms: of each parameter its values at the origin and in the directions.
    """

    def __init__(self, loss: LossAt, terms: dict[str, Tensor]) -> None:
        self.loss, self.known = loss, Known(terms)
        self.needs_gradients = False
        self.chosen = False  # how many points go together, and what need not be made at each
        self.at_once, self.lazy = 1, frozenset[str]()

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Return the losses."""
        if not self.chosen and len(coordinates) > 2:
            first, rest = coordinates[:2], coordinates[2:]
            found, self.chosen = self._one_by_one(first), True
            if not self.needs_gradients:
                self._choose(first, found)
            return torch.cat([found, self(rest)])
        if self.at_once > 1:
            return torch.cat([self._together(part) for part in coordinates.split(self.at_once)])
        return self._one_by_one(coordinates)

    def _choose(self, coordinates: Tensor, expected: Tensor) -> None:
        """Take the fastest way that gives what is expected at two points."""
        self.lazy = frozenset(self.known.terms)
        if not self._agrees(self._one_by_one, coordinates, expected):
            self.known.layers.clear()
        layers = self.known.layers_with_outputs()
        self.lazy = frozenset(name for layer in layers for name in layer.parameters)
        sizes = [x.numel() for name, x in self.known.origin.items() if name not in self.lazy]
        numbers = sum(sizes) + sum(layer.outputs[0].numel() for layer in layers)
        at_once = max(1, min(_MOST_POINTS, _MOST_NUMBERS // numbers))
        if at_once > 1 and self._agrees(self._together, coordinates, expected):
            self.at_once = at_once

    def _agrees(
        self, losses: Callable[[Tensor], Tensor], coordinates: Tensor, expected: Tensor
    ) -> bool:
        try:
            found = losses(coordinates)
        except Exception:  # of code that is not ours, and need not be made for this
            return False
        return torch.allclose(found, expected, rtol=1e-4, atol=1e-6)

    def _one_by_one(self, coordinates: Tensor) -> Tensor:
        return torch.stack([self._at(c) for c in coordinates])

    @torch.no_grad()
    def _together(self, coordinates: Tensor) -> Tensor:
        return torch.func.vmap(self._value, randomness="same")(coordinates)

    def _value(self, c: Tensor) -> Tensor:
        return self.loss(Point(c, self.known).parameters(self.lazy)).reshape(())

    def _at(self, c: Tensor) -> Tensor:
        """Return the loss at one point."""
        if not self.needs_gradients:
            try:
                with torch.no_grad():
                    return self._value(c)
            except RuntimeError as error:
                if "require grad" not in str(error) and "grad_fn" not in str(error):
                    raise
                self.needs_gradients = True
        parameters = Point(c, self.known).parameters(frozenset())
        with torch.enable_grad():
            loss = self.loss({name: x.requires_grad_() for name, x in parameters.items()})
        return loss.detach().reshape(())
