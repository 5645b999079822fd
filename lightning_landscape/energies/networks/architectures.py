"""Networks with a replica axis: the contract, and fully connected ones.

`replicated.Replicated` makes one of any other `nn.Module`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.activations import ACTIVATIONS, Activation, ActivationName
from lightning_landscape.arguments import Checked
from lightning_landscape.energies.networks._hessian_products import HessianProduct
from lightning_landscape.energies.networks._initialization import (
    INITIALIZATIONS,
    InitializationName,
    gaussian,
)
from lightning_landscape.energies.networks._names import require_name
from lightning_landscape.errors import require, require_whole
from lightning_landscape.memory import require_memory
from lightning_landscape.rng import Stream

__all__ = ["Architecture", "FullyConnected", "Pull"]

Pull = Callable[[Tensor], Sequence[Tensor]]
"""From the gradient in the outputs, (R, P, k), to the gradients in the parameters."""


class Architecture(Checked, nn.Module):
    """R networks of one shape: what an energy needs to know of them.

    Every parameter carries the replica axis first. The outputs are a function of parameters that
    are passed in, so that an energy can work on some replicas at a time. A new architecture gives
    the three methods that raise here; `pullback` and `hessian_product` are for those with faster
    derivatives.

    Attributes:
        replicas: R.
        samples_together: how many samples at most see each other, as in batch normalisation; None
            where every sample is on its own. P samples are then taken in the fewest consecutive
            groups of so many, as equal as can be, and one sample says nothing alone.
        block_samples: with fewer samples at a time the algebra loses more than the cache gains.
    """

    replicas: int
    samples_together: int | None = None
    block_samples: int = 1024

    def outputs(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the outputs, shape (R, P, k), differentiable to any order.

        Args:
            parameters: those of the module in their order, or some replicas of each.
            x: samples, shape (R, P, …), or (1, P, …) where the replicas share them.
        """
        raise NotImplementedError

    def output_size(self, sample_shape: Sequence[int]) -> int:
        """Return k for samples of this shape.

        Raises:
            UsageError: the network does not take such samples.
        """
        raise NotImplementedError

    def values_per_sample(self, sample_shape: Sequence[int]) -> int:
        """Return how many activations one replica keeps for one sample."""
        raise NotImplementedError

    def replicas_at_once(self, each: int, cache: int) -> int:
        """Return how many replicas to compute together.

        Args:
            each: bytes of the activations of one.
            cache: bytes of activations that stay near the processor.
        """
        return max(1, cache // each)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, shape (R, P, k), for samples (R, P, …) or, shared, (1, P, …)."""
        return self.outputs(tuple(self.parameters()), x)

    def pullback(self, parameters: Sequence[Tensor], x: Tensor) -> tuple[Tensor, Pull]:
        """Return the outputs, shape (R, P, k), and the map that pulls their gradient back.

        It is called, and the map once, while gradients are not recorded; neither result has a
        graph, and both are good until the next call.
        """
        leaves = [p.detach().requires_grad_() for p in parameters]
        with torch.enable_grad():
            outputs = self.outputs(leaves, x)

        def pull(g: Tensor) -> Sequence[Tensor]:
            return torch.autograd.grad(outputs, leaves, g, materialize_grads=True)

        return outputs.detach(), pull

    def hessian_product(
        self, parameters: Sequence[Tensor], x: Tensor, energies: Callable[[Tensor], Tensor]
    ) -> HessianProduct | None:
        """Return products with the Hessian, where they are written out; None leaves it to autograd.

        Args:
            parameters: those of the module in their order.
            x: samples, shape (R, P, …) or (1, P, …).
            energies: (R,) as a function of the outputs, differentiable twice.
        """
        return None


class FullyConnected(Architecture):
    """R fully connected networks, computed together.

    z^1 = W^1 x + b^1 and z^{l+1} = W^{l+1} sigma(z^l) + b^{l+1}; the outputs are the last z. With
    ``skip`` every hidden layer but the first adds gamma z^l to its z^{l+1}.

    Initially W ~ N(0, C_W / fan-in) and b ~ N(0, C_b), for each replica and layer a function of
    (seed, layer, replica): replica 3 starts the same whether there are 4 replicas or 64. Or every
    W is sqrt(C_W) times a Haar distributed (semi-)orthogonal matrix; in the protocol of Geiger et
    al. 2019, arXiv:1809.09349, with C_W = 1 and C_b = 0. The variance of the last weights is
    divided by fan-in^s more, with s the ``width_exponent`` of the family that leads from the
    neural tangent (s = 0) to the maximal update (s = 1) parametrisation, Yaida 2022,
    arXiv:2210.04909; the learning rates that belong to it are those of `LayerRates`.

    ``weights`` are (R, out, in) and ``biases`` (R, out), one of each a layer. Samples of any shape
    are flattened. Activations are laid out as (R, width, P): then the first layer of all replicas
    is one matrix product with the samples they share, and so is its gradient.

    Args:
        widths: inputs, hidden widths, outputs: [64, 30, 30, 10] has two hidden layers of 30.
        activation: sigma; erf is erf(z), gelu is z (1 + erf(z / sqrt 2)) / 2.
        replicas: R.
        seed: of the initial weights and biases.
        weight_variance: C_W; None takes the critical value (2 for relu, 1 for tanh and linear,
            pi/4 for erf, 1.983 for gelu) times 1 - gamma^2, or 1 if orthogonal.
        bias_variance: C_b; None takes the critical value (0, but 0.173 for gelu) times
            1 - gamma^2, or 0 if orthogonal.
        dtype: ``float32`` or ``float64``.
        initialization: ``gaussian``; ``critical``, the same, but refused where C_W or C_b is given
            or the activation has no critical initialisation; or ``orthogonal``.
        skip: gamma, in [0, 1); the hidden widths must then be equal.
        width_exponent: s.

    Attributes:
        sigma: the activation.
        weight_variance: C_W.
        bias_variance: C_b.
        skip: gamma.

    Raises:
        UsageError: an argument is out of range, or the weights do not fit into memory.

    >>> FullyConnected([10, 30, 30, 1], replicas=64)(torch.zeros(1, 5, 10)).shape
    torch.Size([64, 5, 1])
    """

    def __init__(
        self,
        widths: list[int],
        activation: ActivationName = "relu",
        replicas: int = 1,
        seed: int = 0,
        weight_variance: float | None = None,
        bias_variance: float | None = None,
        dtype: str = "float32",
        initialization: InitializationName = "gaussian",
        skip: float = 0.0,
        width_exponent: float = 0.0,
    ) -> None:
        super().__init__()
        require_name("activation", activation, ACTIVATIONS)
        require_name("initialization", initialization, INITIALIZATIONS)
        self.sigma = ACTIVATIONS[activation]
        given = weight_variance, bias_variance
        if initialization == "critical":
            _check_critical(self.sigma, given)
        _check_skip(skip, widths)
        share = 1 - skip**2
        critical = share * self.sigma.weight_variance, share * self.sigma.bias_variance
        default_W, default_b = (1.0, 0.0) if initialization == "orthogonal" else critical
        C_W = default_W if weight_variance is None else weight_variance
        C_b = default_b if bias_variance is None else bias_variance
        _check(widths, replicas, C_W, C_b, dtype)
        self.widths, self.replicas, self.skip = list(widths), replicas, skip
        self.weight_variance, self.bias_variance = C_W, C_b
        shapes = [(n, m) for m, n in pairwise(widths)]
        like, draw = torch.empty(0, dtype=getattr(torch, dtype)), INITIALIZATIONS[initialization]
        self.weights = nn.ParameterList(
            draw(like.new_empty(replicas, n, m), Stream(seed, f"weights of layer {l}"), C_W)
            for l, (n, m) in enumerate(shapes)
        )
        with torch.no_grad():
            self.weights[-1].mul_(widths[-2] ** (-width_exponent / 2))
        self.biases = nn.ParameterList(
            gaussian(like.new_empty(replicas, n), Stream(seed, f"biases of layer {l}"), C_b)
            for l, (n, _) in enumerate(shapes)
        )
        self._kept: dict[tuple[object, ...], tuple[list[Tensor], list[Tensor]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}  # a copy makes room of its own when it needs it

    def outputs(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the outputs, shape (R, P, k), differentiable to any order."""
        return self.preactivations(parameters, x)[-1].transpose(1, 2)

    def preactivations(self, parameters: Sequence[Tensor], x: Tensor) -> list[Tensor]:
        """Return z of every layer, shape (R, width, P) each; arguments as for `outputs`."""
        return self._preactivations(*_split(parameters), x)

    def outputs_from(self, parameters: Sequence[Tensor], first: Tensor) -> Tensor:
        """Return the outputs, shape (R, P, k), of networks whose z^1 is known.

        Gradients are not recorded; the result is good until the next call.

        Args:
            parameters: as for `outputs`; those of the first layer are not used.
            first: z^1, shape (R, width, P), which is overwritten.
        """
        weights, biases = _split(parameters)
        z = [first, *self._workspace(first, first.shape[2])[0][1:]]
        for l in range(1, len(weights)):
            if self.skips(l):
                torch.mul(z[l - 1], self.skip, out=z[l])
                h = self.sigma.value_(z[l - 1])
                z[l].baddbmm_(weights[l], h).add_(biases[l].unsqueeze(-1))
            else:
                _affine(weights[l], biases[l], self.sigma.value_(z[l - 1]), out=z[l])
        return z[-1].transpose(1, 2)

    def _preactivations(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor
    ) -> list[Tensor]:
        z = [_affine(weights[0], biases[0], x.flatten(2).transpose(1, 2))]
        for l in range(1, len(weights)):
            following = _affine(weights[l], biases[l], self.sigma.value(z[-1]))
            z.append(following + self.skip * z[-1] if self.skips(l) else following)
        return z

    def skips(self, l: int) -> bool:
        """Whether layer l = 0, 1, ... adds gamma times the z of the layer below."""
        return self.skip > 0 and 0 < l < len(self.widths) - 2

    def pullback(self, parameters: Sequence[Tensor], x: Tensor) -> tuple[Tensor, Pull]:
        """Return the outputs and their back-propagation, written out; see `Architecture`.

        Up to twice as fast as autograd where the networks are small.
        """
        weights, biases = _split(parameters)
        z, dz = self._workspace(weights[0], x.shape[1])
        h = [x.flatten(2).transpose(1, 2)]
        for l, (W, b) in enumerate(zip(weights, biases, strict=True)):
            skips = self.skips(l)
            if skips:
                torch.mul(z[l - 1], self.skip, out=z[l])  # before sigma overwrites it
            if l:
                h.append(self.sigma.value_(z[l - 1]))
            if skips:
                z[l].baddbmm_(W, h[l]).add_(b.unsqueeze(-1))
            else:
                _affine(W, b, h[l], out=z[l])

        def pull(g: Tensor) -> list[Tensor]:
            # a reshape to its own shape gives an axis of size 1 the stride that BLAS is fast with
            g = g.transpose(1, 2).reshape(z[-1].shape)
            dW, db = [], []
            for l in reversed(range(len(weights))):
                dW.append(_outer(g, h[l]))
                db.append(g.sum(-1))
                if l:
                    torch.bmm(weights[l].transpose(1, 2), g, out=dz[l - 1])
                    below = self.sigma.pull_(dz[l - 1], z[l - 1])
                    g = below.add_(g, alpha=self.skip) if self.skips(l) else below
            return dW[::-1] + db[::-1]

        return z[-1].transpose(1, 2), pull

    def hessian_product(
        self, parameters: Sequence[Tensor], x: Tensor, energies: Callable[[Tensor], Tensor]
    ) -> HessianProduct | None:
        """Return products with the Hessian, written out unless there are skip connections."""
        if self.skip > 0:
            return None
        samples = x.flatten(2).transpose(1, 2)
        return HessianProduct(self.sigma, *_split(parameters), samples, energies)

    def output_size(self, sample_shape: Sequence[int]) -> int:
        """Return the last width.

        Raises:
            UsageError: the first width is not the number of components of a sample.
        """
        d = math.prod(sample_shape)
        required = f"must begin with {d}, the number of components of a sample"
        require(self.widths[0] == d, "widths", self.widths, required)
        return self.widths[-1]

    def values_per_sample(self, sample_shape: Sequence[int]) -> int:
        """Return the number of neurons."""
        return sum(self.widths[1:])

    def _workspace(self, W: Tensor, P: int) -> tuple[list[Tensor], list[Tensor]]:
        """Return room for the z of each layer, and for the gradient in each z but the last.

        It is kept, because fresh memory would cost as much as the algebra. Where the shapes agree
        the gradient in a z takes the place of the next z, which is done with by then.
        """
        key = (len(W), P, W.dtype, W.device)
        if key not in self._kept:
            if len(self._kept) == 4:  # a full and a last block, of data and of a mini-batch
                self._kept.clear()
            with torch.inference_mode(False):  # it outlives the mode in which it is made
                z = [W.new_empty(len(W), width, P) for width in self.widths[1:]]
                dz = [b if b.shape == a.shape else torch.empty_like(a) for a, b in pairwise(z)]
            self._kept[key] = z, dz
        return self._kept[key]


def _check_critical(sigma: Activation, given: tuple[float | None, float | None]) -> None:
    critical = "critical initialization"
    remedy = "use one that has, such as gelu, or initialization: gaussian"
    required = f"has no {critical}: no kernel stays where it is"
    require(sigma.critical, "activation", sigma.name, required, remedy)
    for name, value in zip(("weight_variance", "bias_variance"), given, strict=True):
        require(value is None, name, value, f"is determined by the {critical}", "leave it out")


def _check_skip(skip: float, widths: list[int]) -> None:
    require(0 <= skip < 1, "skip", skip, "must be at least 0 and less than 1")
    required = "the hidden widths must be equal where layers have skip connections"
    require(skip == 0 or len({*widths[1:-1]}) <= 1, "widths", widths, required)


def _check(widths: list[int], replicas: int, C_W: float, C_b: float, dtype: str) -> None:
    require(len(widths) >= 2, "widths", widths, "must name at least inputs and outputs")
    whole = all(isinstance(n, int) and n >= 1 for n in widths)
    require(whole, "widths", widths, "must be at least 1 each, whole numbers")
    require_whole("replicas", replicas)
    require(C_W >= 0, "weight_variance", C_W, "must be at least 0")
    require(C_b >= 0, "bias_variance", C_b, "must be at least 0")
    require_name("dtype", dtype, ("float32", "float64"))
    N = sum(n * (m + 1) for m, n in pairwise(widths))
    needed = 2 * replicas * N * getattr(torch, dtype).itemsize  # with the gradient
    require_memory(needed, "widths", widths, f"lower the widths or replicas = {replicas}")


def _split(parameters: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the weights and the biases."""
    layers = len(parameters) // 2
    return parameters[:layers], parameters[layers:]


def _affine(W: Tensor, b: Tensor, h: Tensor, out: Tensor | None = None) -> Tensor:
    """Return W h + b: (R, n, m), (R, n), (R or 1, m, P) -> (R, n, P)."""
    if h.shape[0] == W.shape[0]:
        if out is None:
            return torch.baddbmm(b.unsqueeze(-1), W, h)
        # faster than to fill ``out`` with b before the product
        return torch.bmm(W, h, out=out).add_(b.unsqueeze(-1))
    flat = None if out is None else out.flatten(0, 1)
    z = torch.addmm(b.reshape(-1, 1), W.flatten(0, 1), h[0], out=flat)
    return z.view(*b.shape, -1)


def _outer(g: Tensor, h: Tensor) -> Tensor:
    """Return g h^T, summed over samples: (R, n, P), (R or 1, m, P) -> (R, n, m)."""
    if h.shape[0] == g.shape[0]:
        return torch.bmm(g, h.transpose(1, 2))
    return (g.flatten(0, 1) @ h[0].T).view(g.shape[0], -1, h.shape[1])
