"""The Hessian as a linear program recorded once: fast where operations are small."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.operators.evaluation import evaluate, twice_differentiable
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.curvature.operators.linear_program import LinearProgram
from lightning_landscape.curvature.operators.parameters import FlatParameters
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream

__all__ = ["linearized_hessian"]

_TOLERANCE = 1e-4
_CHUNK = 16
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

logger = logging.getLogger(__name__)


@checked
def linearized_hessian(
    energy: Callable[[], Tensor], parameters: Iterable[Tensor], module: nn.Module
) -> CurvatureOperator:
    """Return the Hessian operator of an energy in its fastest form, if that form can be trusted.

    The gradient is linearized once, by forward over reverse mode, and the linear program is
    replayed for each product, see `LinearProgram`; up to 16 vectors go together, except through
    convolutions. The result is accepted if it agrees with `HessianOperator` to 1e-4 on random
    vectors. Where it does not, or the module cannot be traced (batch norm that updates averages,
    custom functions), the `HessianOperator` is returned instead.

    Cost: some eight gradients, for the linearization and the comparison; then 1.0 to 1.4 gradients
    a product. Worth it from some thirty products on, through convolutions above all.

    Args:
        energy: returns the energies of the present parameters, a scalar or (R,).
        parameters: those of ``module`` to differentiate by.
        module: the module through which ``energy`` sees them.

    Raises:
        UsageError: as `HessianOperator`; or a parameter does not belong to the module.
    """
    tensors = list(parameters)
    reference = HessianOperator(energy, tensors)
    names = _names(module, tensors)
    try:
        fast = _LinearizedHessian(energy, names, module, reference.at)
        difference = _difference(fast, reference)
    except Exception as error:  # what cannot be traced says so in many ways
        logger.info("no linearized form: %s", str(error).strip().split("\n")[0])
        return reference
    if difference > _TOLERANCE:
        logger.warning("the linearized Hessian is off by %.2g and is not used", difference)
        return reference
    return fast


class _LinearizedHessian(CurvatureOperator):
    gradient_cost = 1.3
    at: FlatParameters

    def __init__(
        self,
        energy: Callable[[], Tensor],
        names: Sequence[str],
        module: nn.Module,
        at: FlatParameters,
    ) -> None:
        super().__init__(at.replicas, at.N, at.dtype, at.device)
        self.at = at
        seen = _SeenThrough(module, energy)
        convolves = any(isinstance(m, _CONVOLUTIONS) for m in module.modules())
        self.chunk = 1 if convolves else _CHUNK

        def total(tensors: tuple[Tensor, ...]) -> Tensor:
            values = dict(zip(names, tensors, strict=True))
            return torch.func.functional_call(seen, values, ()).sum()

        point = tuple(p.detach() for p in at.tensors)
        direction = [torch.ones_like(p) for p in point]
        with twice_differentiable(at.device):
            gradient = torch.func.grad(lambda *tensors: total(tensors), tuple(range(len(point))))
            self._linear = LinearProgram(gradient, point, direction)

    def multiply(self, V: Tensor) -> Tensor:
        return self.at.map(self._replay, V, self.chunk)

    def _replay(self, V: Sequence[Tensor]) -> Sequence[Tensor]:
        if len(V[0]) == 1:
            return [d[None] for d in self._linear([v[0] for v in V])]
        return torch.func.vmap(self._linear)(list(V))


class _SeenThrough(nn.Module):
    """Makes a closure a function of the parameters of a module."""

    def __init__(self, module: nn.Module, energy: Callable[[], Tensor]) -> None:
        super().__init__()
        self.module = module
        self.__dict__["energy"] = energy  # not a submodule, even if it is a module

    def forward(self) -> Tensor:
        return evaluate(self.__dict__["energy"])


def _names(module: nn.Module, tensors: Sequence[Tensor]) -> list[str]:
    known = {id(p): f"module.{name}" for name, p in module.named_parameters()}
    strangers = [tuple(p.shape) for p in tensors if id(p) not in known]
    require(not strangers, "parameters", strangers, f"must belong to {type(module).__name__}")
    return [known[id(p)] for p in tensors]


def _difference(fast: _LinearizedHessian, reference: CurvatureOperator) -> float:
    """The largest relative difference of products; with two vectors where they go together."""
    V = torch.empty(fast.replicas, min(fast.chunk, 2), fast.N, dtype=fast.dtype)
    V = Stream(0, "agreement").normal_(V, step=0).to(fast.device)
    expected = reference.matmat(V)
    errors = torch.linalg.vector_norm(fast.matmat(V) - expected, dim=-1)
    size = torch.linalg.vector_norm(expected, dim=-1)
    return (errors / size.clamp_min(torch.finfo(fast.dtype).tiny)).max().item()
