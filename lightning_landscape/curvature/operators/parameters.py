"""A list of parameters seen as one vector for each replica."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor, nn

from lightning_landscape.arguments import checked
from lightning_landscape.errors import nearest, require

__all__ = ["FlatParameters", "blocks", "select"]


class FlatParameters:
    """Parameters as vectors, shape (R, N): parameter after parameter, each flattened.

    Args:
        parameters: tensors that require gradients, with the replica axis first where R > 1.
        replicas: R.

    Raises:
        UsageError: there are none, one is frozen or twice there, they differ in dtype or device,
            or one has no replica axis.
    """

    def __init__(self, parameters: Iterable[Tensor], replicas: int) -> None:
        self.tensors = list(parameters)
        self._check(replicas)
        self.replicas = replicas
        self.dtype, self.device = self.tensors[0].dtype, self.tensors[0].device
        self.sizes = [p.numel() // replicas for p in self.tensors]
        self.N = sum(self.sizes)
        self._versions = [p._version for p in self.tensors]

    def _check(self, replicas: int) -> None:
        tensors = self.tensors
        require(len(tensors) > 0, "parameters", [], "must hold at least one tensor")
        require(
            all(p.requires_grad for p in tensors),
            "parameters",
            [tuple(p.shape) for p in tensors if not p.requires_grad],
            "must all require gradients",
            "leave out what is frozen",
        )
        distinct = len({id(p) for p in tensors}) == len(tensors)
        require(distinct, "parameters", f"{len(tensors)} tensors", "must be distinct")
        kinds = {(p.dtype, str(p.device)) for p in tensors}
        require(len(kinds) == 1, "parameters", kinds, "must share one dtype and one device")
        with_axis = replicas == 1 or all(p.dim() and len(p) == replicas for p in tensors)
        require(
            with_axis,
            "parameters",
            [tuple(p.shape) for p in tensors],
            f"the energy has shape ({replicas},), so each must have {replicas} replicas first",
            "return one mean energy if there is one replica",
        )

    def split(self, V: Tensor) -> list[Tensor]:
        """Return vectors V (R, k, N) in the shapes (k, *parameter)."""
        parts = V.transpose(0, 1).split(self.sizes, dim=-1)
        return [part.reshape(-1, *p.shape) for part, p in zip(parts, self.tensors, strict=True)]

    def join_(self, out: Tensor, tensors: Sequence[Tensor]) -> Tensor:
        """Write tensors of the shapes (k, *parameter) into the vectors ``out`` (R, k, N)."""
        for part, t in zip(out.transpose(0, 1).split(self.sizes, dim=-1), tensors, strict=True):
            part.copy_(t.reshape(part.shape))
        return out

    def map(
        self, linear: Callable[[list[Tensor]], Sequence[Tensor]], V: Tensor, chunk: int = 1
    ) -> Tensor:
        """Return what ``linear`` makes of the vectors V (R, k, N), so many of k at a time.

        Args:
            linear: from and to tensors of the shapes (j, *parameter) with j <= chunk.
            V: the vectors.
            chunk: how many at a time.

        Raises:
            UsageError: a parameter was changed in place since this was built.
        """
        self.require_unchanged()
        out = V.new_empty(V.shape)
        for rows, vectors in zip(out.split(chunk, dim=1), V.split(chunk, dim=1), strict=True):
            self.join_(rows, linear(self.split(vectors)))
        return out

    def require_unchanged(self) -> None:
        """Raise a `UsageError` if a parameter was changed in place since the operator was built."""
        changed = [p for p, v in zip(self.tensors, self._versions, strict=True) if p._version != v]
        require(
            not changed,
            "parameters",
            [tuple(p.shape) for p in changed],
            "have changed since the operator was built at another point",
            "build it again",
        )


@checked
def select(module: nn.Module, *names: str) -> list[nn.Parameter]:
    """Return the parameters of ``module`` that belong to the named submodules or have these names.

    The Hessian operator of these parameters alone is the diagonal block of the whole one.

    Raises:
        UsageError: nothing in the module has such a name.

    >>> net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    >>> [tuple(p.shape) for p in select(net, "0.weight", "2")]
    [(2, 3), (1, 2), (1,)]
    """
    named = dict(module.named_parameters())
    chosen: dict[str, nn.Parameter] = {}
    for name in names:
        found = {n: p for n, p in named.items() if n == name or n.startswith(f"{name}.")}
        known = [n for n, _ in module.named_modules()] + list(named)
        require(bool(found), "names", name, f"nothing is called so{nearest(name, known)}")
        chosen.update(found)
    return [p for n, p in named.items() if n in chosen]


@checked
def blocks(module: nn.Module, replicas: int = 1) -> dict[str, slice]:
    """Return where in the vector (N,) of all that requires gradients each parameter lies, by name.

    >>> blocks(nn.Linear(3, 2))
    {'weight': slice(0, 6, None), 'bias': slice(6, 8, None)}
    """
    where, first = {}, 0
    for name, p in module.named_parameters():
        if p.requires_grad:
            where[name] = slice(first, first + p.numel() // replicas)
            first = where[name].stop
    return where
