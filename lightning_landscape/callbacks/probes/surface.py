"""LossSurface: the loss on a line or a plane through the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from lightning_landscape import parallel
from lightning_landscape.callbacks.all_data import AllData, Data, Mode, all_data, require_mode
from lightning_landscape.callbacks.mean_over_data import hessian_of_data, on_batch_of
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.times import Times, axis
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.evaluation import seed_evaluation
from lightning_landscape.errors import nearest, require, require_whole
from lightning_landscape.observables.surfaces import (
    Cut,
    Normalization,
    energy_on,
    evaluate,
    loss_on,
    principal_directions,
    random_directions,
)
from lightning_landscape.rng import Stream

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["Directions", "LossSurface", "surface"]

Directions = Literal["random", "hessian", "trajectory"]

_KNOWN = get_args(Directions)
_NORMALIZATIONS = get_args(Normalization)
_AXES = ("alpha", "beta")
_MARGIN = 1.25  # of a surface along a trajectory, beyond its farthest point


class LossSurface(Probe):
    r"""Measure the loss on a line or plane through the present weights, in anyone's module.

        L(alpha, beta) = E(theta + alpha d_1 + beta d_2)

    Directions: ``random`` ones in the scale of the weights, see `random_directions`; ``hessian``,
    unit eigenvectors of the highest eigenvalues, which the record holds; or ``trajectory``, the
    unit principal directions of the weights at ``times``, about those at the end, see
    `principal_directions`: the record then has the coordinates of the trajectory too.

    The energy of an `Energy` is its whole one, or that of its held-out data; many points are
    evaluated at once on the replica axis. In a foreign project it is the mean of the training
    step's loss, see `View`, over all data of a loader, several points together where its code
    allows it; what sees the same input at every point, as the first layer does, is computed once
    for all. In the mode
    ``train`` batch norm uses the statistics of each batch. In ``eval`` it uses the running ones of
    the present weights, which are not those of the other points.

    A surface costs points^dimensions evaluations of the data, without gradients, in memory two
    copies of the parameters more. Two random cuts of 10^5 dimensions show what is typical, and
    neither minima nor barriers beside it; see `elastic_band` for those.

    Args:
        times: when to measure (the step size times the number of steps; in a foreign project the
            number of steps); None is at the end of the run. For ``trajectory``: when to record
            the weights, None is a log grid with 5 times a decade; the surface is measured at the
            end.
        directions: see above.
        dimensions: 1 is a line, 2 a plane.
        points: along each direction, odd, so that the present weights are one of them.
        extent: alpha and beta go from -extent to extent; for ``trajectory`` this is how far beyond
            its farthest point they go, as a factor.
        normalization: of random directions; None is ``filter``, or ``none`` without matrices.
        data: a DataLoader; ``"train"`` or ``"val"`` are the trainer's own, or the training and
            held-out data of an `Energy`; ``"batch"`` is the current batch of a foreign project.
        mode: of a foreign module, ``train`` or ``eval``.
        replica: of an `Energy`: whose surface.
        seed: of random directions, dropout masks and Lanczos vectors.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        name, strict: see `Probe`.

    Raises:
        UsageError: an argument is out of range or does not go with the run.

    Source: Li, Xu, Taylor, Studer, Goldstein 2018, arXiv:1712.09913.
    """

    reference = "Li et al., arXiv:1712.09913"

    def __init__(
        self,
        times: Sequence[float] | None = None,
        directions: Directions = "random",
        dimensions: int = 2,
        points: int = 25,
        extent: float | None = None,
        normalization: Normalization | None = None,
        data: Data | Literal["batch"] = "train",
        mode: Mode = "train",
        replica: int = 0,
        seed: int = 0,
        loss_fn: EnergyFn | None = None,
        **options: Any,
    ) -> None:
        grid = Times.log(1, 1_000_000, 5) if directions == "trajectory" else Times((0.0,))
        super().__init__(grid if times is None else Times.at(times), loss_fn, **options)
        admissible = f"must be one of {', '.join(_KNOWN)}{nearest(directions, _KNOWN)}"
        require(directions in _KNOWN, "directions", directions, admissible)
        require(dimensions in (1, 2), "dimensions", dimensions, "must be 1 or 2")
        require_whole("points", points)
        odd = points >= 3 and points % 2 == 1
        require(odd, "points", points, "must be odd and at least 3")
        extent = extent or (_MARGIN if directions == "trajectory" else 1.0)
        require(extent > 0, "extent", extent, "must be > 0")
        known = normalization is None or normalization in _NORMALIZATIONS
        admissible = f"must be one of {', '.join(_NORMALIZATIONS)}"
        require(known, "normalization", normalization, admissible)
        require_mode(mode)
        self.directions, self.dimensions, self.points = directions, dimensions, points
        self.extent, self.normalization = extent, normalization
        self.data, self.mode, self.replica, self.seed = data, mode, replica, seed
        self.at_end = times is None or directions == "trajectory"

    def prepare(self, view: View) -> str:
        """Check the run and start empty tables."""
        own = view.is_whole
        known = 0 <= self.replica < view.shape[0]
        require(known, "replica", self.replica, f"must be 0 … {view.shape[0] - 1}")
        named = not own or self.data in ("train", "val")
        remedy = "an Energy has its own data"
        require(named, "data", self.data, "must be train or val", remedy)
        require(self.mode == "train" or not own, "mode", self.mode, "an Energy has one")
        require(
            own or self.data != "batch" or not self.at_end,
            "data",
            self.data,
            "is a batch of training, and there is none after the run",
            'give times, or data = "train"',
        )
        flat = view.landscape is None or view.landscape.constraint is None
        remedy = "take random directions"
        plain = flat or self.directions == "random"
        require(plain, "directions", self.directions, "need a flat space, not a sphere", remedy)
        self.results = {"step": torch.empty(0, dtype=torch.int64)}
        what = "the end of the run" if self.at_end else f"{len(self._steps)} times"
        return f"{self.points**self.dimensions} evaluations of the data at {what}"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append the surface at this time, or the weights of the trajectory."""
        if self.directions == "trajectory":
            self._remember(view)
        elif not self.at_end:
            self._append_surface(view)
        return {}

    def finish(self, trainer: Any, pl_module: Any) -> None:
        """Measure the surface at the end of the run; write the record."""
        known = self._points_before(self.view(trainer, pl_module))
        if self.directions == "trajectory" and known < self.dimensions:
            self.warn(f"the run ended after {known} of its times: too few for a surface; add times")
        elif self.at_end:
            self._append_surface(self.view(trainer, pl_module))
        super().finish(trainer, pl_module)

    def _points_before(self, view: View) -> int:
        """Return how many recorded points of the trajectory are not its end."""
        if "weights" not in self.results:
            return 0
        end = view.configuration()[self.replica].to(self.results["weights"])
        return int((self.results["weights"] != end).any(1).sum())

    def record(self, view: View) -> Dataset:
        """Measure once, without a Trainer, and return the record."""
        self.attributes = self.describe(view)
        self.prepare(view)
        self._append_surface(view)
        return self.dataset().assign_attrs(self.attributes)

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run and of the directions."""
        of = self.data if isinstance(self.data, str) else "loader"
        own = {"directions": self.directions, "data": of, "mode": self.mode}
        scale = self._scale(view) if self.directions == "random" else "unit vectors"
        return super().describe(view) | own | {"replica": self.replica, "normalization": scale}

    def dataset(self) -> Dataset:
        """Return the surfaces, ``loss`` (t, alpha, beta), and what belongs to the directions."""
        from xarray import Dataset

        names, found = list(_AXES[: self.dimensions]), self.results
        coordinates = axis("t", found["step"].numpy(), self.attributes["time_step"])
        if "loss" not in found:  # the run has not come to its end
            return Dataset({}, coordinates)
        units = {"units": "lengths of the direction"}
        coordinates |= {
            name: (name, along.numpy(), units)
            for name, along in zip(names, found["axes"], strict=True)
        }
        tables: dict[str, Any] = {"loss": (("t", *names), found["loss"].numpy())}
        per_direction = {"eigenvalue", "explained", "length"} & set(found)
        tables |= {name: (("t", "direction"), found[name].numpy()) for name in per_direction}
        if "path" in found:
            tables["path"] = (("point", "direction"), found["path"].numpy())
            tables["distance"] = ("point", found["distance"].numpy())
        return Dataset(tables, coordinates, {"reference": self.reference})

    def _scale(self, view: View) -> Normalization:
        if self.normalization is not None:
            return self.normalization
        axes = max(p.dim() for p in view.parameters()) - (view.landscape is not None)
        return "filter" if axes >= 2 else "none"

    def _remember(self, view: View) -> None:
        row = view.configuration()[self.replica].cpu()[None]
        before = self.results.get("weights", row[:0])
        self.results["weights"] = torch.cat([before, row])

    def _append_surface(self, view: View) -> None:
        require_finite = bool(view.configuration().isfinite().all())
        require(require_finite, "parameters", "inf or nan", "must be finite for a surface")
        with view.measuring(self.mode):
            data = None
            if not view.is_whole and self.data != "batch":
                data = all_data(self.data, view, self.mode)
            if self.directions == "trajectory":
                self._remember(view)
            cut, known = self._cut(view, data)
            axes = self._axes(cut)
            loss = surface(view, cut, axes, data, self.replica, self._split, self.seed)
        self.append(view, {"loss": loss, "length": cut.directions.double().norm(dim=1), **known})
        self.results["axes"] = torch.stack(axes)

    @property
    def _split(self) -> str:
        return "test" if self.data == "val" else "train"

    def _axes(self, cut: Cut) -> list[Tensor]:
        """Return the coordinates along each direction; they go as far as the trajectory."""
        half = self.points // 2
        unit = torch.arange(-half, half + 1, dtype=torch.float64) / half  # 0 is exact
        if self.directions != "trajectory":
            return [self.extent * unit] * self.dimensions
        path, self.results["distance"] = cut.project(self.results["weights"])
        self.results["path"] = path
        low, high = path.amin(0), path.amax(0)  # that of the end is 0
        far = self.extent * torch.maximum(-low, high)
        return [length * unit for length in far]

    def _cut(self, view: View, data: AllData | None) -> tuple[Cut, dict[str, Tensor]]:
        """Return the cut, and what the record says of its directions."""
        origin, D = view.configuration()[self.replica], self.dimensions
        if self.directions == "trajectory":
            found = principal_directions(self.results["weights"], D)
            return Cut(origin, found.directions.to(origin)), {"explained": found.explained}
        if self.directions == "random":
            parameters = [p.detach() for p in view.parameters()]
            if view.landscape is not None:
                parameters = [p[self.replica] for p in parameters]
            d = random_directions(parameters, D, self._scale(view), self.seed)
            return Cut(origin, d), {}
        seed_evaluation(Stream(self.seed, "evaluation").key(view.step))
        H = view.hessian() if data is None else hessian_of_data(view, data, self.seed)
        pairs = lanczos(H, D, "highest", seed=self.seed)
        vectors = pairs.eigenvectors[self.replica].to(origin)
        return Cut(origin, vectors), {"eigenvalue": pairs.eigenvalues[self.replica].cpu()}


def surface(
    view: View,
    cut: Cut,
    axes: Sequence[Tensor],
    data: AllData | None = None,
    replica: int = 0,
    split: str = "train",
    seed: int = 0,
) -> Tensor:
    """Return the loss of a run on a grid of a cut, shape (n_1, n_2, …); inside `measuring`.

    Args:
        view: the run, on its current batch where neither an `Energy` nor data are given.
        cut: in the space of one replica.
        axes: the coordinates along its directions.
        data: all data of a foreign project.
        replica: of an `Energy`.
        split: of an `Energy`, ``train`` or ``test``.
        seed: of dropout masks, the same at every point.
    """
    if view.is_whole:
        assert view.landscape is not None
        return evaluate(energy_on(view.landscape, cut, replica, split), axes)
    if data is None:
        return view.reduce(_of_batch(view, cut, axes, seed, view.step), "mean")
    total = torch.zeros([len(along) for along in axes], dtype=torch.float64)
    for number in range(len(data)):
        samples = min(data.size, data.samples - number * data.size)
        one = on_batch_of(view, data, number)
        total += samples * _of_batch(one, cut, axes, seed, number + 1)
    return parallel.sum(total) / data.total


def _of_batch(view: View, cut: Cut, axes: Sequence[Tensor], seed: int, number: int) -> Tensor:
    moving = {n: p.detach() for n, p in view.system.named_parameters() if p.requires_grad}
    key = Stream(seed, "evaluation").key(number)

    def loss(parameters: Mapping[str, Tensor]) -> Tensor:
        seed_evaluation(key)
        return view.energy_at(parameters)

    return evaluate(loss_on(loss, moving, cut), axes)
