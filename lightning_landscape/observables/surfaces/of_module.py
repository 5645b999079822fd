"""The loss of any module on a cut, several points at once where its code allows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require
from lightning_landscape.observables.surfaces._affine_layers import AffineLayers, Known
from lightning_landscape.observables.surfaces.cut import Cut

__all__ = ["LossAt", "loss_on", "with_parameters"]

_MOST_POINTS, _MOST_NUMBERS = 64, 2**20  # at once: points, and numbers of their parameters

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

    Up to 64 points together by `torch.func.vmap`, as many as have 10^6 parameters, if the first two
    agree with those one after the other; code that branches on numbers, writes into buffers or
    calls ``.item()`` goes one after the other. What sees the same input at every point, such as the
    first layer, is computed once, see `AffineLayers`: for the loss of one batch of data call this
    once, and evaluate the whole grid before the next batch.

    Cost: an evaluation of the loss a point, without gradients. If the loss contains derivatives,
    gradients are on, and nothing is computed once. Memory: D + 2 copies of the parameters, or
    10^6 numbers more, and what the points together take.

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
        self.loss, self.terms = loss, terms
        self.known: Known = {}
        self.needs_gradients = False
        self.together: bool | None = None  # not known yet
        numbers = sum(term[0].numel() for term in terms.values())
        self.at_once = max(1, min(_MOST_POINTS, _MOST_NUMBERS // numbers))

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Return the losses."""
        if self.together is None and self.at_once > 1 and len(coordinates) > 2:
            first, rest = coordinates[:2], coordinates[2:]
            found = self._one_by_one(first)
            self.together = not self.needs_gradients and self._agrees(first, found)
            return torch.cat([found, self(rest)])
        if self.together:
            return torch.cat([self._by_vmap(part) for part in coordinates.split(self.at_once)])
        return self._one_by_one(coordinates)

    def _one_by_one(self, coordinates: Tensor) -> Tensor:
        return torch.stack([self._at(c) for c in coordinates])

    def _agrees(self, coordinates: Tensor, expected: Tensor) -> bool:
        """Whether all points in one evaluation give what they give one after the other."""
        try:
            found = self._by_vmap(coordinates)
        except Exception:  # of code that is not ours, and need not be made for this
            return False
        return torch.allclose(found, expected, rtol=1e-4, atol=1e-6)

    def _by_vmap(self, coordinates: Tensor) -> Tensor:
        def value(c: Tensor) -> Tensor:
            factors = torch.cat([torch.ones_like(c[:1]), c])
            at = {name: _combined(c, term) for name, term in self.terms.items()}
            with AffineLayers(factors, at, self.terms, self.known):
                return self.loss(at).reshape(())

        with torch.no_grad():
            return torch.func.vmap(value, randomness="same")(coordinates)

    def _at(self, c: Tensor) -> Tensor:
        """Return the loss at one point."""
        values = [term[0].clone() for term in self.terms.values()]
        for k, factor in enumerate(c.tolist(), 1):
            torch._foreach_add_(values, [t[k] for t in self.terms.values()], alpha=factor)
        at = dict(zip(self.terms, values, strict=True))
        if not self.needs_gradients:
            factors = torch.cat([torch.ones_like(c[:1]), c])
            try:
                with torch.no_grad(), AffineLayers(factors, at, self.terms, self.known):
                    return self.loss(at).reshape(())
            except RuntimeError as error:
                if "require grad" not in str(error) and "grad_fn" not in str(error):
                    raise
                self.needs_gradients = True
        with torch.enable_grad():
            loss = self.loss({name: x.requires_grad_() for name, x in at.items()})
        return loss.detach().reshape(())


def _combined(c: Tensor, terms: Tensor) -> Tensor:
    """Return the parameter at coordinates (D,) from its terms (1 + D, ...)."""
    value = terms[0]
    for k, factor in enumerate(c.to(terms), 1):
        value = torch.addcmul(value, factor, terms[k])
    return value
