"""The inverse Hessian of each replica, as L-BFGS remembers it."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.sphere import Sphere

__all__ = ["FIRST", "Memory", "compiled"]

# length of the first step, before anything is known of the curvature; x is of order 1
FIRST = 0.1


class Memory:
    """The last m steps s and changes of the gradient y of each replica, oldest first.

    Attributes:
        s: shape (R, m, N); zero where a replica has fewer.
        y: the same.
    """

    def __init__(self, x: Tensor, size: int) -> None:
        R, N = x.shape
        self.s, self.y = x.new_zeros(2, R, size, N)

    def only(self, index: Tensor) -> Memory:
        """Return the memory of some replicas."""
        some = object.__new__(Memory)
        some.s, some.y = self.s[index], self.y[index]
        return some

    def add(self, s: Tensor, y: Tensor, which: Tensor) -> None:
        """Add the pairs of those replicas in which s.y > 0; the oldest is forgotten.

        Args:
            s: the steps, shape (R, N).
            y: the changes of the gradient, shape (R, N).
            which: of which replicas, shape (R,), bool.
        """
        if compiled(self.s):
            from lightning_landscape.dynamics.minimizers._two_loop import remember

            old, new = (self.s.numpy(), self.y.numpy()), (s.contiguous(), y.contiguous())
            least = torch.finfo(s.dtype).eps
            remember(old[0], old[1], new[0].numpy(), new[1].numpy(), which.numpy(), least)
            return
        sy = torch.linalg.vecdot(s, y)
        lengths = torch.linalg.vector_norm(s, dim=1) * torch.linalg.vector_norm(y, dim=1)
        r = (which & (sy > torch.finfo(s.dtype).eps * lengths)).nonzero().squeeze(1)
        self.s[r] = torch.cat([self.s[r, 1:], s[r, None]], dim=1)
        self.y[r] = torch.cat([self.y[r, 1:], y[r, None]], dim=1)

    def transport(self, sphere: Sphere, x: Tensor) -> None:
        """Carry the pairs to the tangent planes at ``x``, (R, N), by projection."""
        sphere.project_(self.s, x.unsqueeze(1))
        sphere.project_(self.y, x.unsqueeze(1))

    def forget(self, which: Tensor) -> None:
        """Drop the pairs of some replicas, shape (R,), bool."""
        if which.any():
            self.s[which], self.y[which] = 0, 0

    def direction(self, g: Tensor) -> Tensor:
        """Return -H g, shape (R, N), by the two-loop recursion (Nocedal, Wright, algorithm 7.4).

        H begins as s.y / y.y times the identity, and without any pair as the number that gives
        the step a length of at most 0.1.
        """
        if compiled(self.s):
            from lightning_landscape.dynamics.minimizers._two_loop import two_loops

            out = torch.empty_like(g, memory_format=torch.contiguous_format)
            gradient = g.detach().contiguous().numpy()
            two_loops(self.s.numpy(), self.y.numpy(), gradient, FIRST, out.numpy())
            return out
        sy = torch.linalg.vecdot(self.s, self.y)
        # transport can spoil an old pair
        rho = torch.where(sy > 0, 1 / sy, 0.0)
        q, alphas = g.clone(), []
        for k in reversed(range(self.s.shape[1])):
            alpha = rho[:, k] * torch.linalg.vecdot(self.s[:, k], q)
            q.addcmul_(alpha.unsqueeze(1), self.y[:, k], value=-1)
            alphas.append(alpha)
        q.mul_(self._scale(sy[:, -1], g).unsqueeze(1))
        for k, alpha in enumerate(reversed(alphas)):
            beta = rho[:, k] * torch.linalg.vecdot(self.y[:, k], q)
            q.addcmul_((alpha - beta).unsqueeze(1), self.s[:, k])
        return q.neg_()

    def _scale(self, sy: Tensor, g: Tensor) -> Tensor:
        yy = torch.linalg.vecdot(self.y[:, -1], self.y[:, -1])
        first = (FIRST / torch.linalg.vector_norm(g, dim=1)).clamp_max(1.0)
        return torch.where(sy > 0, sy / yy, first)


def compiled(x: Tensor) -> bool:
    """Whether kernels of numba apply: on a CPU, where each operation of torch is dear."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)
