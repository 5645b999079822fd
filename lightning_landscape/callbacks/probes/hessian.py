"""HessianSpectrum: the spectrum of the Hessian at logarithmic times."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.all_data import (
    Data,
    Mode,
    all_data,
    require_foreign,
    require_mode,
)
from lightning_landscape.callbacks.mean_over_data import hessian_of_data
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes._spectrum_cost import (
    gradients,
    require_room_for_vectors,
)
from lightning_landscape.callbacks.times import Times, affordable, thinned
from lightning_landscape.callbacks.view import EnergyFn, View
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.parameters import blocks
from lightning_landscape.curvature.operators.streaming import StreamingOperator
from lightning_landscape.curvature.operators.tangent import TangentOperator
from lightning_landscape.curvature.pyhessian.summary import summary_by_pyhessian
from lightning_landscape.curvature.summary import Budget, spectrum_summary
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import nearest, require
from lightning_landscape.rng import Stream

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["HessianSpectrum"]

_BACKENDS = ("landscape", "pyhessian")
_ENDS = ("highest", "lowest")
_NUMBERS = ("trace", "trace_error", "trace_of_square", "trace_of_square_error", "separated")
_INDEX = ("negative", "negative_lower", "negative_upper")

logger = logging.getLogger(__name__)


class HessianSpectrum(Probe):
    r"""Measure the spectrum of the Hessian at time 0 and on a log grid.

    The leading eigenvalues at both ends with residuals and convergence flags, the density of all
    with its resolution, tr H, tr H^2, the trace of each parameter (they sum to tr H), and the
    fraction of negative eigenvalues between bounds; see `spectrum_summary` for the names in the
    record. All of it is exact where matrices are known or small, see `Budget`.

    The energy is the whole one of an `Energy`; on a sphere its curvature in the tangent space,
    P (H + mu) P without the radial zero mode. In a foreign project it is that of `View` on the
    current batch, with the dropout masks of one evaluation and the modes of training; under DDP
    the mean over the ranks' batches. With ``data`` it is the mean energy of all samples of a
    loader, each batch evaluated by itself, see `AllData`; the record then has the highest
    eigenvalue of the current batch beside it, ``batch_highest``. In the mode ``train`` batch norm
    uses the statistics of each batch, so that this energy depends on how the data are batched; in
    ``eval`` it uses its running statistics, and the energy is a plain mean over samples.

    A measurement costs at most ``max_products`` + ``random_vectors`` x ``steps`` products, 1.5
    gradients each (2.5 where the data are too many for one graph), or N products where that is
    less; an analytic Hessian counts as 10 gradients. If all of them together would exceed
    ``max_share`` of the gradients of the run, some times are left out, spread evenly and never the
    last; where not one measurement fits, none is made, and the probe says so. The cost is counted,
    not timed, so that a resumed run measures at the same times. It is said before the first step,
    and what it was after the last.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        k: eigenvalues at each end.
        random_vectors: how many for the density and the traces, at least 2.
        steps: Lanczos steps for each.
        max_products: budget of the eigenvalues at the ends.
        dense_up_to: the size N up to which all eigenvalues are computed.
        max_share: cost of all measurements over that of the run; inf for no limit.
        seed: of the random vectors.
        eigenvectors: whether to record those of the k eigenvalues at each end too, in the order of
            the parameters; 2 k R N numbers each time, at most 256 MiB in all.
        backend: ``landscape`` is our engine. ``pyhessian`` runs PyHessian, without side effects and
            with its true residuals, replica by replica; see `summary_by_pyhessian`.
        loss_fn: the energy of a foreign module, ``loss_fn(pl_module, batch)``; see `View`.
        data: of a foreign project: a DataLoader, or ``"train"`` or ``"val"`` for the trainer's
            own; None is the current batch. A product costs 2.5 gradients of all batches.
        mode: of a foreign module: ``train`` leaves the modes as they are in training; ``eval``
            evaluates without dropout and with the running statistics of batch norm.
        layers: whether to record the k highest eigenvalues of the diagonal block of each
            parameter too, ``part_highest``, at up to ``max_products`` products for each where not
            all eigenvalues are computed, see `highest_of_parts`.
        name, strict: see `Probe`.

    Raises:
        UsageError: an argument is out of range or does not go with the run, the parameters are in
            half precision, or, in a foreign project, the first product is not the measured change
            of the gradient, as where a reentrant checkpoint or a kernel without double backward
            hides something.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys((*_NUMBERS, *_INDEX, "multiplier"), ("t", "replica")),
        **dict.fromkeys(("products", "zero"), ("t",)),
        **dict.fromkeys(("part_trace", "part_trace_error"), ("t", "replica", "part")),
        **{f"part_highest{of}": ("t", "replica", "part", "rank")
           for of in ("", "_residual", "_converged")},
        **dict.fromkeys(("batch_highest", "batch_highest_converged"), ("t", "replica")),
        **dict.fromkeys(("fraction", "fraction_scatter", "resolution"), ("t", "replica", "bin")),
        "edges": ("t", "edge"),
        "eigenvalues": ("t", "replica", "eigenvalue"),
        **{f"{end}{of}": ("t", "replica", "rank")
           for end in _ENDS for of in ("", "_residual", "_converged")},
        **{f"{end}_vector": ("t", "replica", "rank", "coordinate") for end in _ENDS},
    }  # fmt: skip

    def __init__(
        self,
        first: float = 1,
        last: float = 10_000,
        per_decade: int = 2,
        k: int = 10,
        random_vectors: int = 10,
        steps: int = 50,
        max_products: int = 300,
        dense_up_to: int = 1000,
        max_share: float = 0.05,
        seed: int = 0,
        eigenvectors: bool = False,
        backend: str = "landscape",
        loss_fn: EnergyFn | None = None,
        data: Data | None = None,
        mode: Mode = "train",
        layers: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(Times.log(first, last, per_decade), loss_fn, **options)
        require(max_share > 0, "max_share", max_share, "must be greater than 0")
        admissible = f"must be one of {', '.join(_BACKENDS)}{nearest(backend, _BACKENDS)}"
        require(backend in _BACKENDS, "backend", backend, admissible)
        self.budget = Budget(
            k, random_vectors, steps, max_products, dense_up_to, seed, eigenvectors, layers
        )
        require_mode(mode)
        remedy = "leave out one of the two"
        alone = not (layers and backend == "pyhessian")
        require(alone, "layers", layers, "needs the backend landscape", remedy)
        self.max_share, self.backend = max_share, backend
        self.data, self.mode = data, mode
        self.parts: dict[str, slice] = {}
        self._cost, self._times, self._verified = "", 1, False

    # when

    def afford(self, steps: list[int], view: View, end: float) -> list[int]:
        """Return ``steps``, thinned to at most ``max_share`` of the run's cost."""
        reached = [step for step in steps if step <= end]
        if not reached:
            return steps
        run = min(float(end), steps[-1])
        each = self._gradients(view) * view.steps_per_gradient
        most = affordable(self, len(reached), self.max_share, run, each)
        chosen = thinned(reached, most) if most else []
        self._times = len(chosen)
        self._cost = (
            f"{len(chosen)} of {len(reached)} measurements of at most {self._gradients(view):.3g} "
            f"gradients, {len(chosen) * each / max(run, 1):.2g} times the cost of the "
            f"{run:.0f} steps to the last of them"
        )
        return steps if len(chosen) == len(reached) else chosen

    def _gradients(self, view: View) -> float:
        """What a measurement costs at most, in gradients of the energy of a step."""
        whole = gradients(view, self.budget, self.backend)
        each = view.product_cost
        if self.budget.layers and not self.budget.computes_all(view.shape[1]):
            sizes = [p.numel() // view.shape[0] for p in view.parameters()]
            whole += each * sum(min(size, self.budget.max_products) for size in sizes)
        if self.data is None or view.is_whole:
            return whole
        streamed = (
            StreamingOperator.gradient_cost / each * len(all_data(self.data, view, self.mode))
        )
        return whole * streamed + each * self.budget.max_products

    # what

    def prepare(self, view: View) -> str:
        """Say what the measurements will cost."""
        require(
            view.parameters()[0].dtype in (torch.float32, torch.float64),
            "precision",
            view.parameters()[0].dtype,
            "curvature needs parameters in float32 or float64",
            "use precision bf16-mixed or 16-mixed",
        )
        require_foreign(view, self.data, self.mode)
        in_parts = bool(self.parts) or not self.budget.layers
        require(in_parts, "layers", True, "a sphere has no blocks of its own", "leave it out")
        if self.budget.eigenvectors:
            require_room_for_vectors(view, self.budget.k, self._times)
        self.results = {}  # the first measurement starts the tables
        return self._cost

    def describe(self, view: View) -> dict[str, Any]:
        """Return what the record says of the run: the backend, and how many classes there are."""
        on_sphere = view.landscape is not None and view.landscape.constraint is not None
        without = on_sphere or self.backend == "pyhessian"
        self.parts = {} if without else blocks(view.system, view.shape[0])
        energy = view.landscape
        outputs = energy.targets.shape[-1] if isinstance(energy, NetworkEnergy) else 1
        described = super().describe(view) | {"backend": self.backend}
        if energy is None:
            of = self.data if isinstance(self.data, str) else "loader"
            described |= {"mode": self.mode, "data": "batch" if self.data is None else of}
        return described | ({"classes": outputs} if outputs > 1 else {})

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append the spectrum at this time; of a run that has diverged there is none.

        The record of a run that diverged before the first measurement has no rows, and says so.
        """
        if not view.configuration().isfinite().all():
            logger.warning("%s: step %d: a parameter is not finite", self.name, view.step)
            self.results.setdefault("step", torch.empty(0, dtype=torch.int64))
            self.attributes["diverged"] = f"a parameter is not finite at step {view.step}"
            return {}
        with view.measuring(self.mode):
            # dropout masks are functions of the step
            seed = Stream(self.budget.seed, "evaluation").key(view.step)
            torch.manual_seed(seed)
            operator = self._operator(view, seed)
            if not view.is_whole and not self._verified:
                operator.verify()
                self._verified = True
            if self.backend == "pyhessian":
                row = summary_by_pyhessian(operator, self.budget)
            else:
                row = spectrum_summary(operator, self.budget, self.parts)
            if self.data is not None:
                torch.manual_seed(seed)
                row |= self._highest_of_batch(view.hessian())
        if isinstance(operator, TangentOperator):
            row["multiplier"] = operator.multiplier.double().cpu()
        if not self.parts:
            row = {name: value for name, value in row.items() if not name.startswith("part_")}
        self.append(view, row)
        return {
            "highest": row["highest"][:, 0].mean().item(),
            "lowest": row["lowest"][:, 0].mean().item(),
            "trace": row["trace"].mean().item(),
            "negative": row["negative"].mean().item(),
        }

    def _operator(self, view: View, seed: int) -> CurvatureOperator:
        if self.data is None:
            return view.hessian()
        return hessian_of_data(view, all_data(self.data, view, self.mode), seed)

    def _highest_of_batch(self, operator: CurvatureOperator) -> dict[str, Tensor]:
        most, seed = self.budget.max_products, self.budget.seed
        block = min(2, operator.N)
        found = lanczos(operator, 1, "highest", block=block, max_products=most, seed=seed)
        return {
            "batch_highest": found.eigenvalues[:, 0],
            "batch_highest_converged": found.converged[:, 0],
        }

    def record(self, view: View) -> Dataset:
        """Measure once, without a Trainer, and return the record with what is exact."""
        from lightning_landscape.results.exact import with_exact

        self.attributes = self.describe(view)
        self.prepare(view)
        self.measure(view, [view.step])
        return with_exact(self.dataset().assign_attrs(self.attributes))

    def dataset(self) -> Dataset:
        """Return the spectra, see `spectrum_summary`, each (t, replica, …)."""
        dataset = super().dataset()
        if self.parts:
            dataset = dataset.assign_coords(part=list(self.parts))
        return dataset.assign_attrs(zero="eigenvalues of less than 1e-4 of the largest modulus")
