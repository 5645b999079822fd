"""Preconditioning: how many steps a preconditioner would save."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.curvature.trace import hutchinson
from lightning_landscape.dynamics.preconditioners.gain import BothSidesOperator, quadratic_descent
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require, require_whole
from lightning_landscape.replicas import flatten
from lightning_landscape.rng import Stream

__all__ = ["Preconditioning"]

_KINDS = ("none", "diagonal", "Kronecker", "fluctuations")
_DAMPING = 1e-3  # of the mean, added to what is inverted
_GROUPS = 16
_SIGNS = 16  # random vectors for the diagonal of the Hessian

Apply = Callable[[Tensor], Tensor]


class Preconditioning(Probe):
    r"""Measure how much faster descent would be with a preconditioner.

    Descent with a frozen preconditioner P, x <- x - eta P^{-1} grad E, is plain descent with
    the Hessian P^{-1/2} H P^{-1/2} and the gradient P^{-1/2} grad E. Lanczos from that gradient
    gives its course in the quadratic valley around the present parameters, see `quadratic_descent`:

    - ``spread``, lambda_max |g|^2 / (g . H g) in these coordinates: 1 where all directions of the
      gradient are curved alike;
    - ``gain``: plain descent lowers the energy in ``steps`` steps of length 1 / lambda_max by as
      much as the preconditioned in steps / gain, with its own 1 / lambda_max;
    - ``measured_gain``, where ``follow``: the same of descents that are carried out, on the energy
      itself, from here; nan where the preconditioned one has not got as far in 4 ``steps`` steps.

    The preconditioners are

    - ``diagonal``: P = sqrt(<g_i^2>), Adam's, over 16 mini-batches or parts of the data;
    - ``Kronecker``: P = L^{1/4} x R^{1/4} for each matrix of weights, with L = <G G^T> and
      R = <G^T G> over them (Shampoo); diagonal for other parameters;
    - ``fluctuations``: P_i = H_ii, by random vectors: T / H_ii is the thermal fluctuation of a
      parameter while the others rest.

    Each has 1e-3 of its mean added. The prediction holds while the energy is quadratic: to about
    the step at which the sharpness changes.

    Cost of a measurement: 16 gradients of parts, 16 + 4 ``products`` products of 1.5 gradients;
    with ``follow`` up to 16 ``steps`` gradients.

    Args:
        times: when to measure, in the units of the run.
        steps: of plain descent, to whose result the others are compared.
        products: of Lanczos, for each preconditioner.
        follow: whether to carry the descents out.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        name, strict: see `Probe`.

    Raises:
        UsageError: an argument is out of range; or a batch of a foreign project cannot be cut.

    Source: Adam: Kingma, Ba 2014, arXiv:1412.6980; Shampoo: Gupta, Koren, Singer 2018,
    arXiv:1802.09568.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = dict.fromkeys(
        ("spread", "gain", "measured_gain"), ("t", "replica", "preconditioner")
    )
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "spread": {"long_name": "lambda_max |g|^2 / (g . H g)"},
        "gain": {"long_name": "steps of plain descent over those that are needed, predicted"},
        "measured_gain": {"long_name": "steps of plain descent over those that were needed"},
    }
    reference = "Gupta, Koren, Singer 2018, arXiv:1802.09568"

    def __init__(
        self,
        times: list[float] | None = None,
        steps: int = 100,
        products: int = 30,
        follow: bool = False,
        loss_fn: EnergyFn | None = None,
        **options: Any,
    ) -> None:
        super().__init__(Times.at([0.0] if times is None else times), loss_fn, **options)
        require_whole("steps", steps)
        require_whole("products", products)
        self.steps, self.products, self.follow = steps, products, follow

    def prepare(self, view: View) -> str:
        """Say what it costs; the tables start with the first measurement."""
        if view.landscape is not None:
            free = view.landscape.constraint is None
            required = "lives on a sphere, where steps are not those of a flat valley"
            require(free, "energy", type(view.landscape).__name__, required)
        self.results = {}
        gradients = _GROUPS + 1.5 * (_SIGNS + 4 * self.products) + 16 * self.steps * self.follow
        return f"{len(self._steps)} measurements of up to {gradients:.0f} gradients"

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run."""
        return super().describe(view) | {"steps": self.steps}

    def dataset(self) -> Any:
        """Return the tables, with the names of the preconditioners."""
        return super().dataset().assign_coords(preconditioner=list(_KINDS))

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append spread and gain of each preconditioner."""
        with view.measuring():
            torch.manual_seed(Stream(0, "evaluation").key(view.step))
            operator, g = view.hessian(), view.gradient()
            roots = self._roots(view, operator)
            found = [
                quadratic_descent(
                    BothSidesOperator(operator, root), root(g[:, None])[:, 0], self.products
                )
                for root in roots
            ]
            plain = torch.full((view.shape[0],), float(self.steps), dtype=torch.float64)
            fall = found[0].fall(plain)
            gain = torch.stack([plain / one.steps_for(fall) for one in found], dim=1)
            measured = torch.full_like(gain, torch.nan)
            if self.follow:
                rates = [one.rate for one in found]
                measured = self._followed(view, roots, rates)
        row = {"spread": torch.stack([one.spread for one in found], dim=1), "gain": gain}
        self.append(view, row | {"measured_gain": measured})
        return {f"gain_{kind}": gain[:, k].mean().item() for k, kind in enumerate(_KINDS) if k}

    def _roots(self, view: View, operator: Any) -> list[Apply]:
        """Return P^{-1/2} of each kind, as a function of vectors (R, k, N)."""
        gradients = torch.stack(list(_gradients(view)))  # (m, R, N)
        second = gradients.square().mean(0)
        diagonal = _inverse_power(second.sqrt(), 0.5)
        curvatures = hutchinson(operator, _SIGNS, seed=view.step).diagonal.value.abs().to(second)
        stiff = _inverse_power(curvatures, 0.5)
        blocks = _Kronecker(view, gradients, diagonal)
        return [lambda V: V, lambda V: V * diagonal[:, None], blocks, lambda V: V * stiff[:, None]]

    def _followed(self, view: View, roots: list[Apply], rates: list[Tensor]) -> Tensor:
        """Return the steps of plain descent over those of each, (R, kinds), carried out."""
        course = _course(view, roots[0], rates[0], self.steps)
        target = course[-1]
        gains = [torch.ones_like(target)]
        for root, rate in zip(roots[1:], rates[1:], strict=True):
            energies = _course(view, root, rate, 4 * self.steps, target)
            gains.append(self.steps / _first_below(energies, target))
        return torch.stack(gains, dim=1)


def _course(
    view: View, root: Apply, rate: Tensor, steps: int, target: Tensor | None = None
) -> Tensor:
    """Return the energies along a descent, (n, R), and leave the parameters as they were."""
    moving, R = view.parameters(), view.shape[0]
    sizes = [p.numel() // R for p in moving]
    energies = [_energy(view)]
    with view.moved_to([p.detach().clone() for p in moving]):
        for _ in range(steps):
            step = root(root(view.gradient()[:, None]))[:, 0] * rate[:, None].to(moving[0])
            for p, d in zip(moving, step.split(sizes, dim=1), strict=True):
                p.data.sub_(d.reshape(p.shape))
            energies.append(_energy(view))
            if target is not None and bool((energies[-1] <= target).all()):
                break
    return torch.stack(energies)


def _energy(view: View) -> Tensor:
    """Return the energies, (R,), of the batches of all ranks, which then stop at the same step."""
    return view.reduce(view.energy().detach().double().cpu(), "mean")


def _first_below(energies: Tensor, target: Tensor) -> Tensor:
    """Return when energies (n, R) pass the target, between steps; nan where they do not."""
    below = energies <= target
    n = below.int().argmax(0)
    at = torch.arange(energies.shape[1])
    before, after = energies[(n - 1).clamp_min(0), at], energies[n, at]
    when = n - 1 + (before - target) / (before - after)
    return torch.where(below.any(0) & (n > 0), when, torch.nan)


def _gradients(view: View) -> Iterator[Tensor]:
    """Yield the gradients, (R, N), of parts of the data, or of the batch of a foreign project."""
    moving, R = view.parameters(), view.shape[0]
    landscape = view.landscape
    energies: list[Callable[[], Tensor]]
    if landscape is None or view.has_own_loss:
        # two samples in a part at least, of which batch normalization can take a variance
        energies = view.parts(max(2, min(_GROUPS, view.samples_in_batch // 2)), "samples")
    elif isinstance(landscape, NetworkEnergy):
        rows = Stream(0, "parts of the data").permutation(view.samples, view.step)
        parts = rows.chunk(_GROUPS)
        energies = [lambda part=part: landscape(part) for part in parts]  # type: ignore[misc]
    else:
        energies = [view.energy]
    for energy in energies:
        found = torch.autograd.grad(energy().sum(), moving, materialize_grads=True)
        g = flatten(one.to_dense().reshape(R, -1) for one in found)
        yield view.reduce(g, "mean")


def _inverse_power(x: Tensor, power: float) -> Tensor:
    """Return (x + damping)^-power, in units of its mean."""
    mean = x.mean(-1, keepdim=True).clamp_min(1e-30)
    return (x / mean + _DAMPING).pow(-power)


class _Kronecker:
    """P^{-1/2} with P = L^{1/4} x R^{1/4} of each matrix of weights; V (R, k, N) to the same."""

    def __init__(self, view: View, gradients: Tensor, diagonal: Tensor) -> None:
        moving, R = view.parameters(), view.shape[0]
        ours = view.landscape is not None
        self._sizes = [p.numel() // R for p in moving]
        self._shapes = [p.shape[1:] if ours else p.shape for p in moving]
        self._factors: list[Any] = []
        for shape, G, own in zip(
            self._shapes,
            gradients.split(self._sizes, dim=-1),
            diagonal.split(self._sizes, dim=-1),
            strict=True,
        ):
            if len(shape) < 2:
                self._factors.append(own)
                continue
            matrices = G.reshape(*G.shape[:2], shape[0], -1)  # (m, R, a, b)
            left = (matrices @ matrices.mT).mean(0)
            right = (matrices.mT @ matrices).mean(0)
            self._factors.append((_power(left), _power(right)))
        self._balance(diagonal)

    def _balance(self, diagonal: Tensor) -> None:
        """Give each matrix the mean size that it has in the diagonal preconditioner."""
        for k, (shape, own) in enumerate(
            zip(self._shapes, diagonal.split(self._sizes, dim=-1), strict=True)
        ):
            if len(shape) >= 2:
                left, right = self._factors[k]
                size = left.diagonal(0, -2, -1).mean(-1) * right.diagonal(0, -2, -1).mean(-1)
                self._factors[k] = (left * (own.mean(-1) / size)[:, None, None], right)

    def __call__(self, V: Tensor) -> Tensor:
        out = []
        for v, shape, factor in zip(
            V.split(self._sizes, dim=-1), self._shapes, self._factors, strict=True
        ):
            if len(shape) < 2:
                out.append(v * factor[:, None])
                continue
            left, right = (one[:, None] for one in factor)
            matrix = v.reshape(*v.shape[:2], shape[0], -1)
            out.append((left @ matrix @ right).reshape(v.shape))
        return torch.cat(out, dim=-1)


def _power(matrix: Tensor) -> Tensor:
    """Return (M + damping)^(-1/8) of symmetric matrices, in units of their mean eigenvalue."""
    values, vectors = torch.linalg.eigh(matrix.double())
    powers = _inverse_power(values.clamp_min(0), 1 / 8)
    return ((vectors * powers[..., None, :]) @ vectors.mT).to(matrix.dtype)
