"""The sphere |x|^2 = N on which spherical glasses live."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["Sphere"]

_TOLERANCE = 1e-3  # of |x|^2 / N: far above the rounding of float32, far below a mistake


@dataclass(frozen=True)
class Sphere:
    """Configurations x of shape (R, N) with |x|^2 = N, one sphere per replica.

    Args:
        N: the dimension of the embedding space, and the squared radius.
    """

    N: int

    def check(self, x: Tensor) -> None:
        """Raise a `UsageError` unless ``x`` has the shape (R, N)."""
        require(
            x.dim() == 2 and x.shape[1] == self.N,
            "shape",
            tuple(x.shape),
            f"a configuration on the sphere |x|^2 = {self.N} has the shape (R, {self.N})",
            "the replica axis comes first",
        )

    def check_on(self, x: Tensor) -> None:
        """Raise a `UsageError` unless the rows of ``x`` (R, N) have |x|^2 = N, within 0.1 %."""
        self.check(x)
        off = (x.double().square().sum(-1) / self.N - 1).abs()
        replica = int(off.argmax())
        require(
            bool(off[replica] < _TOLERANCE),
            "x",
            f"|x|^2 off by {off[replica].item():.2g} N in replica {replica}",
            f"must have |x|^2 = N = {self.N}",
            f"retract it with Sphere({self.N}).retract_(x)",
        )

    def project_(self, v: Tensor, x: Tensor) -> Tensor:
        """Remove from ``v`` (R, N), in place, its component along ``x`` (R, N) on the sphere."""
        along = torch.linalg.vecdot(v, x).unsqueeze(-1)
        return v.addcmul_(x, along, value=-1 / self.N)

    def retract_(self, x: Tensor) -> Tensor:
        """Rescale ``x`` (R, N), in place, to |x|^2 = N.

        After adding noise of variance 2 T dt per component this rescaling supplies, to first order
        in dt, the drift -T (N-1)/N x of Brownian motion on the sphere in the embedding space.
        """
        return x.div_(torch.linalg.vector_norm(x, dim=-1, keepdim=True).mul_(self.N**-0.5))
