"""Extreme eigenpairs by Lanczos, at both ends of the spectrum from one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.curvature.krylov import KrylovBasis, Ritz
from lightning_landscape.curvature.results import Eigenpairs
from lightning_landscape.errors import require

if TYPE_CHECKING:
    from lightning_landscape.curvature.operators.base import CurvatureOperator

__all__ = ["Which", "lanczos"]

Which = Literal["highest", "lowest", "both", "magnitude"]


@checked
def lanczos(
    operator: CurvatureOperator,
    k: int = 10,
    which: Which = "magnitude",
    *,
    tolerance: float = 1e-3,
    block: int = 1,
    max_products: int = 1000,
    memory: int = 2**30,
    seed: int = 0,
    start: Tensor | None = None,
) -> Eigenpairs:
    r"""Return ``k`` eigenpairs at one end of the spectrum, or at each of both ends.

    Lanczos with the whole basis kept and two classical Gram-Schmidt passes a step, so that no
    spurious copies of converged eigenvalues appear as in the plain recursion, all replicas in
    lockstep, until every wanted pair has `|Hy - \theta y| \le` tolerance `|\theta|`
    and the best pair left out, with its own residual, cannot outrank them; or until the rounding
    noise of the products dominates the residuals, or the budget is spent: what has not converged
    is returned and flagged. When the basis would exceed ``memory`` it is compressed to its best
    Ritz vectors (thick restart: the same results, up to twice the products where the cap is tight).

    A tolerance of 1e-3 leaves eigenvalues right to about its square. What residuals cannot show is
    an eigenvalue that was missed. One start vector sees one direction of each eigenspace: of a
    multiple eigenvalue it returns one copy, so take ``block`` at least the multiplicity that a
    symmetry makes. And of two close ones in the dense edge of a bulk it may see the inner one
    first: of 600 runs on random matrices (N = 300, tolerance 1e-3) 10 missed one, and none with
    ``block=2``. Outliers of a network need no block. Blocks of 2 cost 1.3 to 1.6 times the
    products.

    Args:
        operator: R symmetric matrices of size N.
        k: number of eigenpairs (at each end for "both").
        which: "highest", "lowest" or "both" in algebraic order, or "magnitude", the largest moduli.
        tolerance: largest relative residual.
        block: vectors multiplied at once.
        max_products: budget of matrix-vector products per replica.
        memory: cap on the basis in bytes, R x vectors x N numbers.
        seed: of the random start vectors, the same for all replicas.
        start: a guess, (R, N), to which the random unit vector is added. It saves products where it
            is long and near the wanted vectors; one of which it has no part may be missed.

    Cost: the products (30 to 40 for ten outliers of a trained network, 100 to 200 in the edge of a
    bulk) and, per step at basis size m, 8 m N flops in 4 passes over the basis.

    Raises:
        UsageError: an argument cannot be satisfied, in particular a ``memory`` too small to hold
            the wanted vectors and their workspace.

    Source: C. Lanczos, J. Res. NBS 45, 255 (1950); thick restart: K. Wu and H. Simon, SIAM J.
    Matrix Anal. Appl. 22, 602 (2000).

    >>> from lightning_landscape.curvature import DenseOperator
    >>> pairs = lanczos(DenseOperator(torch.linspace(-1, 2, 301).diag()), k=2, which="both")
    >>> pairs.eigenvalues
    tensor([[ 2.0000,  1.9900, -0.9900, -1.0000]], dtype=torch.float64)
    >>> bool(pairs.converged.all())
    True
    """
    is_operator = hasattr(operator, "matmat")
    remedy = "wrap a matrix as DenseOperator(matrix)"
    admissible = "must be a CurvatureOperator"
    require(is_operator, "operator", type(operator).__name__, admissible, remedy)
    ends = 2 if which == "both" else 1
    wanted = ends * k
    known = ("highest", "lowest", "both", "magnitude")
    require(which in known, "which", which, f"must be one of {', '.join(known)}")
    size = f"half the size N = {operator.N}" if ends == 2 else f"the size N = {operator.N}"
    require(k >= 1 and wanted <= operator.N, "k", k, f"must lie between 1 and {size}")
    require(tolerance > 0, "tolerance", tolerance, "must be greater than 0")
    enough = max_products >= wanted
    require(enough, "max_products", max_products, f"{wanted} eigenpairs take at least as many")
    rows = _rows(operator, wanted, block, max_products, memory)
    basis, spent, next_check = KrylovBasis(operator, rows, block, seed, start), 0, wanted
    while True:
        spent += basis.expand()
        last = basis.is_complete or spent >= max_products
        if last or basis.is_full or basis.multiplied >= next_check:
            found = _Selection(basis.ritz(), which, wanted, tolerance, operator.dtype)
            if last or found.is_settled:
                return found.certified(basis, spent)
            if basis.is_full:
                basis.compress(found.best(_kept(rows, wanted, block)))
            # a check is R dense eigenproblems, a step one pass for all replicas
            every = 24 if operator.replicas == 1 else 6
            next_check = basis.multiplied + max(1, basis.multiplied // every)


def _rows(
    operator: CurvatureOperator, wanted: int, block: int, max_products: int, memory: int
) -> int:
    """How many basis vectors to allow."""
    N = operator.N
    require(1 <= block <= N, "block", block, f"must lie between 1 and the size N = {N}")
    vector = operator.replicas * N * operator.dtype.itemsize
    useful = min(N, max_products + 2 * block)
    rows = min(useful, memory // vector)
    least = min(useful, 2 * wanted + 3 * block)
    require(
        rows >= least,
        "memory",
        memory,
        f"holds {rows} basis vectors of {vector} bytes, and {least} are needed",
        "raise it, ask for fewer eigenpairs or measure fewer replicas at once",
    )
    return rows


def _kept(rows: int, wanted: int, block: int) -> int:
    """How many Ritz vectors survive a restart: the wanted and half of the other room."""
    return wanted + (rows - block - wanted) // 2


class _Selection:
    """The wanted ones among the Ritz pairs of a basis, and whether they are good enough."""

    def __init__(
        self, ritz: Ritz, which: str, wanted: int, tolerance: float, dtype: torch.dtype
    ) -> None:
        self.ritz, self.which, self.wanted, self.tolerance = ritz, which, wanted, tolerance
        self.order = _by_rank(ritz.values, which)
        size = ritz.values.abs()
        floor = 10 * torch.finfo(dtype).eps * size.amax(1, keepdim=True)
        self.converged = ritz.residuals <= tolerance * size + floor

    @property
    def is_settled(self) -> bool:
        """Whether more products would not help, in any replica."""
        settled = self.converged | (self.ritz.noise > self.ritz.residuals / 2)
        wanted = settled.gather(1, self.order[:, : self.wanted])
        return bool(wanted.all() and self._separated(settled).all())

    def _separated(self, settled: Tensor) -> Tensor:
        """Whether the best pair left out, at each end, cannot outrank what was taken, (R,)."""
        ends = 2 if self.which == "both" else 1
        taken = self.order[:, self.wanted - ends : self.wanted]
        left = self.order[:, self.wanted : self.wanted + ends]
        if left.shape[1] < ends:
            return settled.all(1)
        score = self.ritz.values.abs() if self.which == "magnitude" else self.ritz.values
        distance = (score.gather(1, taken) - score.gather(1, left)).abs()
        out_of_reach = self.ritz.residuals.gather(1, left) <= distance
        return (out_of_reach | settled.gather(1, left)).all(1)

    def best(self, k: int) -> Tensor:
        """The k best Ritz vectors, (R, m, k)."""
        return self._vectors(self.order[:, :k])

    def certified(self, basis: KrylovBasis, spent: int) -> Eigenpairs:
        """The wanted pairs with their evidence."""
        index = self.order[:, : self.wanted]
        if self.which == "both":
            index = index.sort(1, descending=True).values
        Y = basis.combine(self._vectors(index))
        overlaps = (Y @ Y.mT).double().cpu()
        return Eigenpairs(
            eigenvalues=self.ritz.values.gather(1, index),
            eigenvectors=Y,
            residuals=self.ritz.residuals.gather(1, index),
            converged=self.converged.gather(1, index),
            separated=self._separated(self.converged),
            orthogonality=(overlaps - torch.eye(self.wanted)).abs().amax((1, 2)),
            asymmetry=self.ritz.asymmetry,
            products=spent,
            tolerance=self.tolerance,
        )

    def _vectors(self, index: Tensor) -> Tensor:
        S = self.ritz.vectors
        return S.gather(2, index[:, None].expand(-1, S.shape[1], -1))


def _by_rank(values: Tensor, which: str) -> Tensor:
    """Indices of the ascending ``values``, (R, m), the most wanted first; both ends in turn."""
    R, m = values.shape
    if which == "magnitude":
        return values.abs().argsort(1, descending=True)
    up = torch.arange(m)
    ranks = {
        "lowest": up,
        "highest": up.flip(0),
        "both": torch.stack([up.flip(0), up], 1).flatten()[:m],
    }[which]
    return ranks.expand(R, m)
