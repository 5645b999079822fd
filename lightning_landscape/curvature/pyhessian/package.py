"""PyHessian's class on our engine, and PyHessian itself, without side effects and certified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.evaluation import twice_differentiable
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.curvature.operators.streaming import StreamingOperator
from lightning_landscape.curvature.operators.vectors import dots, norms
from lightning_landscape.curvature.random_vectors import signs
from lightning_landscape.curvature.results import Eigenpairs
from lightning_landscape.curvature.slq import stochastic_lanczos
from lightning_landscape.errors import require

__all__ = ["hessian"]

Batch = tuple[Tensor, Tensor]
Vectors = list[list[Tensor]]

_VECTORS_AT_ONCE = 10


class hessian:
    """The Hessian of a model's loss, with the constructor and the methods of `pyhessian.hessian`.

    The model is seen in evaluation mode and left as it was: its modes, gradients and the random
    state are restored, also where PyHessian changes them.

    Args:
        model: from inputs to outputs.
        criterion: from outputs and targets to the mean loss.
        data: one batch, (inputs, targets).
        dataloader: or batches of them that come in the same order at each pass; a loader that
            shuffles is refused, pin it as list(loader).
        cuda: whether batches are moved to the GPU; the model must be there already.
        backend: ``landscape`` is our engine; ``pyhessian`` runs PyHessian (power iteration), with
            the same isolation and its missing eigensolver.
        seed: of the random vectors.

    Attributes:
        pairs: what `eigenvalues` last returned, with the true residuals of either backend.

    Raises:
        UsageError: not exactly one of ``data`` and ``dataloader``, or an argument out of range.

    >>> net, x = nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    >>> H = hessian(net, nn.functional.mse_loss, data=(x, torch.zeros(2, 1)))
    >>> round(H.eigenvalues(top_n=1)[0][0], 5)
    9.0
    """

    pairs: Eigenpairs | None = None

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[[Any, Any], Tensor],
        data: Batch | None = None,
        dataloader: Iterable[Batch] | None = None,
        cuda: bool = False,
        backend: Literal["landscape", "pyhessian"] = "landscape",
        seed: int = 0,
    ) -> None:
        one = (data is None) != (dataloader is None)
        given = "neither" if data is None else "both"
        require(one, "data, dataloader", given, "exactly one of them must be given")
        known = ("landscape", "pyhessian")
        require(backend in known, "backend", backend, f"must be one of {', '.join(known)}")
        self.model, self.criterion, self.cuda = model, criterion, cuda
        self.data, self.dataloader, self.backend, self.seed = data, dataloader, backend, seed
        self.params = [p for p in model.parameters() if p.requires_grad]
        self.operator: CurvatureOperator
        if data is not None:
            self.operator = self._operator_of(data)
        elif dataloader is not None:
            self.operator = StreamingOperator(self._operator_of, dataloader)

    def _operator_of(self, batch: Batch) -> HessianOperator:
        device = self.params[0].device if self.cuda else torch.device("cpu")
        inputs, targets = (part.to(device) for part in batch)
        with _left_alone(self.model):
            return HessianOperator(lambda: self.criterion(self.model(inputs), targets), self.params)

    def eigenvalues(
        self, maxIter: int = 100, tol: float = 1e-3, top_n: int = 1
    ) -> tuple[list[float], Vectors]:
        """Return the ``top_n`` eigenvalues of largest modulus, and their eigenvectors.

        Args:
            maxIter: matrix-vector products for each eigenvalue.
            tol: relative residual. PyHessian takes it for the change between two iterations.
            top_n: how many.
        """
        if self.backend == "pyhessian":
            with self._peer() as peer:
                values, vectors = peer.eigenvalues(maxIter=maxIter, tol=tol, top_n=top_n)
            self.pairs = self._certified(values, vectors, tol)
            return values, vectors
        self.pairs = lanczos(
            self.operator, top_n, tolerance=tol, max_products=maxIter * top_n, seed=self.seed
        )
        return self.pairs.eigenvalues[0].tolist(), self._unflatten(self.pairs.eigenvectors[0])

    def trace(self, maxIter: int = 100, tol: float = 1e-3) -> list[float]:
        """Return samples v.Hv of the trace; their mean is the estimate.

        Args:
            maxIter: most samples.
            tol: stop where the standard error is below this fraction of the mean. PyHessian stops
                where two successive means agree by chance.
        """
        require(maxIter >= 1, "maxIter", maxIter, "must be at least 1")
        if self.backend == "pyhessian":
            with self._peer() as peer:
                return [float(sample) for sample in peer.trace(maxIter=maxIter, tol=tol)]
        samples = torch.empty(0, dtype=torch.float64)
        for first in range(0, maxIter, _VECTORS_AT_ONCE):
            some = range(first, min(first + _VECTORS_AT_ONCE, maxIter))
            v = signs(self.operator, some, self.seed)
            samples = torch.cat([samples, dots(v, self.operator.matmat(v))[0]])
            mean, error = samples.mean().abs(), samples.std() / len(samples) ** 0.5
            if len(samples) > 1 and error <= tol * mean:
                break
        return samples.tolist()

    def density(self, iter: int = 100, n_v: int = 1) -> tuple[list[list[float]], list[list[float]]]:
        """Return nodes and weights of the spectral density, a list of each for each run.

        Args:
            iter: Lanczos steps.
            n_v: runs, each from its own random vector.
        """
        if self.backend == "pyhessian":
            with self._peer() as peer, _eig_of_old():
                nodes, weights = peer.density(iter=iter, n_v=n_v)
            return [list(map(float, x)) for x in nodes], [list(map(float, w)) for w in weights]
        found = stochastic_lanczos(self.operator, n_v, iter, seed=self.seed)
        points, masses = found.nodes_and_weights
        return points[0].tolist(), masses[0].tolist()

    @contextmanager
    def _peer(self) -> Iterator[Any]:
        """PyHessian on the same model and data; nothing that it does outlives the body."""
        import warnings

        from pyhessian import hessian as theirs

        device = self.params[0].device
        with _left_alone(self.model), twice_differentiable(device), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using backward.. with create_graph=True")
            torch.manual_seed(self.seed)
            yield theirs(self.model, self.criterion, self.data, self.dataloader, self.cuda)

    def _certified(self, values: list[float], vectors: Vectors, tol: float) -> Eigenpairs:
        """Their eigenpairs with residuals of their unit vectors, by one more product each."""
        flat = torch.stack([torch.cat([p.flatten() for p in v]) for v in vectors])[None]
        Y = flat.to(self.operator.dtype)
        Y = Y / norms(Y)[..., None].to(Y)
        theta = torch.tensor(values, dtype=torch.float64)[None]
        residuals = norms(self.operator.matmat(Y) - theta[..., None].to(Y) * Y)
        overlaps = (Y @ Y.mT).double().cpu()
        floor = 10 * torch.finfo(Y.dtype).eps * theta.abs().amax(1, keepdim=True)
        return Eigenpairs(
            eigenvalues=theta,
            eigenvectors=Y,
            residuals=residuals,
            converged=residuals <= tol * theta.abs() + floor,
            separated=torch.zeros(1, dtype=torch.bool),  # power iteration cannot know
            orthogonality=(overlaps - torch.eye(len(values))).abs().amax((1, 2)),
            asymmetry=torch.full((1,), torch.nan, dtype=torch.float64),
            products=len(values),
            tolerance=tol,
        )

    def _unflatten(self, V: Tensor) -> Vectors:
        sizes = [p.numel() for p in self.params]
        return [
            [part.view_as(p) for part, p in zip(v.split(sizes), self.params, strict=True)]
            for v in V
        ]


@contextmanager
def _left_alone(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; everything as it was afterwards."""
    modes = [(m, m.training) for m in model.modules()]
    gradients = [(p, p.grad) for p in model.parameters()]
    devices = [p.device for p in model.parameters()][:1]
    try:
        with torch.random.fork_rng([d for d in devices if d.type == "cuda"]):
            model.eval()
            for p, _ in gradients:
                p.grad = None
            yield
    finally:
        for m, training in modes:
            m.training = training
        for p, gradient in gradients:
            p.grad = gradient


@contextmanager
def _eig_of_old() -> Iterator[None]:
    """Supply `torch.eig`, removed from torch in 2022, for symmetric matrices."""

    def eig(T: Tensor, eigenvectors: bool = True) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(T)
        return torch.stack([values, torch.zeros_like(values)], 1), vectors

    name = "eig"
    before = getattr(torch, name, None)
    setattr(torch, name, eig)
    try:
        yield
    finally:
        if before is None:
            delattr(torch, name)
        else:
            setattr(torch, name, before)
