"""Products with the Hessian of fully connected networks, both backward passes written out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_landscape.activations import Activation

__all__ = ["HessianProduct"]

# Vectors go together while one activation of every neuron, replica and sample takes no more.
_TOGETHER_BYTES = 2**24


class HessianProduct:
    r"""The map from vectors v to H v, at fixed weights, on fixed samples.

    It is the derivative along v of forward pass and back-propagation. With dots for it, V for the
    part of v that belongs to the weights W, h = sigma(z) and delta = dE / dz,

    .. math:: \dot z^{l+1} = W \dot h^l + V h^l, \quad
              \dot\delta^l = \sigma' (W^T \dot\delta^{l+1} + V^T \delta^{l+1})
              + \sigma'' \dot z^l \, W^T \delta^{l+1}, \quad
              \dot\nabla_W E = \dot\delta \, h^T + \delta \, \dot h^T .

    Memory: h, delta, sigma' and, where sigma is curved, sigma'' W^T delta, of every neuron on every
    sample; and room for three such of each vector in a call.

    Args:
        sigma: the activation.
        weights: (R, n, m) each.
        biases: (R, n) each.
        x: samples, (R or 1, m, P).
        energies: (R,) as a function of the outputs, (R, P, k).

    Attributes:
        together: how many vectors are best multiplied in one call.

    Source: B. Pearlmutter, Neural Comput. 6, 147 (1994).
    """

    @torch.no_grad()
    def __init__(
        self,
        sigma: Activation,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        x: Tensor,
        energies: Callable[[Tensor], Tensor],
    ) -> None:
        self._weights, self._h = list(weights), [x.contiguous()]
        self._slopes: list[Tensor] = []
        curvatures: list[Tensor | None] = []
        with torch.no_grad():
            for W, b in zip(weights[:-1], biases[:-1], strict=True):
                z = _affine(W, b, self._h[-1])
                self._h.append(sigma.value(z))
                self._slopes.append(sigma.slope(z))
                curvatures.append(None if sigma.curvature is None else sigma.curvature(z))
        self._f = _affine(weights[-1], biases[-1], self._h[-1]).requires_grad_()
        with torch.enable_grad():
            E = energies(self._f.transpose(1, 2)).sum()
            (self._slope,) = torch.autograd.grad(E, self._f, create_graph=True)
        # of each layer delta = dE / dz, and sigma'' dE / dh, None where sigma'' = 0
        self._delta = [self._slope.detach().contiguous()]
        self._bends: list[Tensor | None] = []
        back = zip(self._weights[:0:-1], self._slopes[::-1], curvatures[::-1], strict=True)
        for W, slope, curvature in back:
            above = _product(W.mT, self._delta[0])
            self._bends.insert(0, None if curvature is None else curvature.mul_(above))
            self._delta.insert(0, above.mul_(slope))
        self._kept: dict[int, _Room] = {}
        neurons = sum(delta.numel() for delta in self._delta)
        self.together = max(1, _TOGETHER_BYTES // (x.element_size() * neurons))

    @torch.no_grad()
    def __call__(self, v: Sequence[Tensor]) -> list[Tensor]:
        """Return H v, for j vectors: of each weight (R, j, n, m), then of each bias (R, j, n)."""
        layers, j = len(self._weights), v[0].shape[1]
        V, c = [t.flatten(1, 2) for t in v[:layers]], [t.flatten(1) for t in v[layers:]]
        room = self._room(j)
        dz, dh = self._forward(V, c, room)
        dW, db = [], []
        d = self._through_the_loss(dz[-1], j)
        for l in reversed(range(layers)):
            dW.append(_product(d, self._h[l].mT).view(v[l].shape))
            db.append(d.sum(-1).view(v[layers + l].shape))
            if l:
                dW[-1] += _product(dh[l], self._delta[l].mT).view(v[l].mT.shape).mT
                below = _product(v[l].mT.flatten(1, 2), self._delta[l], out=room.d[l - 1])
                _add_each_(below, self._weights[l].mT, d)
                d = self._through_sigma_(below, dz[l - 1], l - 1)
        return dW[::-1] + db[::-1]

    def _forward(
        self, V: list[Tensor], c: list[Tensor], room: _Room
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Derivatives along v of every z, and of what enters each layer (nothing in the first)."""
        dz, dh = [_affine(V[0], c[0], self._h[0], out=room.dz[0])], [self._h[0]]
        for l in range(1, len(V)):
            dh.append(_times(dz[-1], self._slopes[l - 1], out=room.dh[l - 1]))
            z = _affine(V[l], c[l], self._h[l], out=room.dz[l])
            dz.append(_add_each_(z, self._weights[l], dh[l]))
        return dz, dh

    def _through_the_loss(self, df: Tensor, j: int) -> Tensor:
        """The derivative of dE / df along ``df``, (R, j k, P)."""
        u = df if j == 1 else df.unflatten(1, (j, -1)).transpose(0, 1)
        (d,) = torch.autograd.grad(
            self._slope, self._f, u, retain_graph=True, is_grads_batched=j > 1
        )
        return (d if j == 1 else d.transpose(0, 1)).reshape(df.shape).contiguous()

    def _through_sigma_(self, d: Tensor, dz: Tensor, l: int) -> Tensor:
        bend = self._bends[l]
        _times(d, self._slopes[l], out=d)
        return d if bend is None else d.add_(_times(dz, bend, out=dz))

    def _room(self, j: int) -> _Room:
        """Room for j vectors, kept: fresh memory would cost a third of the algebra."""
        if j not in self._kept:
            if len(self._kept) == 2:  # a full chunk of vectors, and what remains
                self._kept.clear()
            dz, d = ([t.repeat(1, j, 1) for t in self._delta] for _ in range(2))
            # a z is needed twice only where sigma is curved
            bends = zip(dz, self._bends, strict=False)
            dh = [z if bend is None else torch.empty_like(z) for z, bend in bends]
            self._kept[j] = _Room(dz, dh, d)
        return self._kept[j]


class _Room(NamedTuple):
    """Where derivatives along v go, layer by layer: of z, of h, and of delta."""

    dz: list[Tensor]
    dh: list[Tensor]
    d: list[Tensor]


def _affine(W: Tensor, b: Tensor, h: Tensor, out: Tensor | None = None) -> Tensor:
    """W h + b: (R, n, m), (R, n), (R or 1, m, P) -> (R, n, P)."""
    if len(h) == len(W) > 1:
        return torch.baddbmm(b.unsqueeze(-1), W, h, out=out)
    flat = None if out is None else out.flatten(0, 1)
    z = torch.addmm(b.reshape(-1, 1), W.flatten(0, 1), h[0], out=flat)
    return z.view(*b.shape, -1)


def _product(A: Tensor, B: Tensor, out: Tensor | None = None) -> Tensor:
    """A B: (R, n, m), (R or 1, m, P) -> (R, n, P); one replica is faster without a batch."""
    if len(A) == len(B) > 1:
        return torch.bmm(A, B, out=out)
    flat = None if out is None else out.flatten(0, 1)
    return torch.mm(A.flatten(0, 1), B[0], out=flat).view(*A.shape[:2], -1)


def _add_each_(out: Tensor, W: Tensor, t: Tensor) -> Tensor:
    """Add W t to ``out``, for each of j: (R, j n, P), (R, n, m), (R, j m, P)."""
    R, n, m = W.shape
    j = t.shape[1] // m
    if R * j == 1:
        out[0].addmm_(W[0], t[0])
    else:
        each = W.unsqueeze(1).expand(R, j, n, m).reshape(R * j, n, m)
        out.view(R * j, n, -1).baddbmm_(each, t.view(R * j, m, -1))
    return out


def _times(t: Tensor, s: Tensor, out: Tensor) -> Tensor:
    """The product t s, for each of j: (R, j n, P), (R, n, P)."""
    R, n, P = s.shape
    torch.mul(t.view(R, -1, n, P), s.unsqueeze(1), out=out.view(R, -1, n, P))
    return out
