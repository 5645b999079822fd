"""The two parts of the Hessian that decide whether a minimum of a jammed network is stable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.curvature.operators.gauss_newton import (
    GaussNewtonOperator,
    split_hessian,
)
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.energies.networks.architectures import Architecture
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import require
from lightning_landscape.replicas import size
from lightning_landscape.rng import Stream

__all__ = ["effective_parameters", "part_spectra", "split_of"]


def split_of(energy: NetworkEnergy) -> tuple[GaussNewtonOperator, HessianOperator]:
    """Return H0 and Hp, the parts of the Hessian of a network over all its data, as operators.

    H0 = (1/P) sum grad Delta grad Delta^T and Hp = (1/P) sum Delta grad grad Delta over the
    unsatisfied patterns, for the quadratic hinge; see `split_hessian`. H0 + Hp is the Hessian.
    """
    x = energy.inputs.unsqueeze(0)
    return split_hessian(lambda: energy.architecture(x), energy.mean_loss, energy.parameters())


def part_spectra(energy: NetworkEnergy) -> Tensor:
    """Return all eigenvalues of H, H0 and Hp, shape (3, R, N), ascending, in float64.

    Cost: 2 N products of 1.5 gradients each, two matrices of R N^2 numbers, and three dense
    solves of 4 N^3 / 3 flops for each replica.

    Raises:
        UsageError: the parameters are not in float64, where zero modes cannot be told from small
            ones; or the matrices do not fit into memory.

    Source: Geiger et al. 2019, PRE 100, 012115, arXiv:1809.09349.
    """
    dtype = next(energy.parameters()).dtype
    remedy = "give the architecture dtype: float64"
    require(dtype == torch.float64, "dtype", dtype, "zero modes need float64", remedy)
    H0, Hp = (part.dense() for part in split_of(energy))
    spectra = [torch.stack([_eigenvalues(H) for H in part]) for part in (H0, Hp)]
    whole = torch.stack([_eigenvalues(H) for H in H0.add_(Hp)])
    return torch.stack([whole, *spectra]).cpu()


def _eigenvalues(H: Tensor) -> Tensor:
    return torch.linalg.eigvalsh((H + H.mT) / 2)


def effective_parameters(
    architecture: Architecture, sample_shape: Sequence[int], seed: int = 0
) -> Tensor:
    r"""Return N_eff, the dimension spanned by grad_theta f(x) over all inputs x, shape (R,), int64.

    Directions in which the weights can move without changing the function, to first order, do not
    count: for ReLU one for each hidden neuron, by the symmetry W^l -> c W^l, W^(l+1) ->
    W^(l+1) / c of its weights, so that N_eff is N less the number of hidden neurons where none is
    dead. Only N_eff parameters take part in fitting the data.

    The inputs are normal; their number doubles, from N on, until the rank of the Jacobian does not
    grow. The derivatives in x of the gradients lie in the same span, being limits of differences.

    Args:
        architecture: R networks.
        sample_shape: the shape of an input, without batch.
        seed: of the inputs.

    Cost: as many gradients of single samples and outputs as there are inputs, 2 to 4 times N, and
    a dense singular value decomposition for each replica and each doubling.

    Source: Geiger et al. 2019, PRE 100, 012115, arXiv:1809.09349.

    >>> from lightning_landscape.energies import FullyConnected
    >>> effective_parameters(FullyConnected([4, 6, 1], dtype="float64"), [4])  # 37 - 6
    tensor([31])
    """
    parameters = [p.detach() for p in architecture.parameters()]
    n = size(parameters)
    J = _jacobian(architecture, parameters, sample_shape, seed, range(n))
    rank = torch.linalg.matrix_rank(J)
    while True:
        more = _jacobian(architecture, parameters, sample_shape, seed, range(n, 2 * n))
        J, before, n = torch.cat([J, more], dim=1), rank, 2 * n
        rank = torch.linalg.matrix_rank(J)
        if torch.equal(rank, before):
            return rank


def _jacobian(
    architecture: Architecture,
    parameters: Sequence[Tensor],
    sample_shape: Sequence[int],
    seed: int,
    samples: range,
) -> Tensor:
    """Return the gradients of all outputs at some of the random inputs, shape (R, n k, N)."""
    like = parameters[0].new_empty(len(samples), *sample_shape)
    x = Stream(seed, "inputs").normal_(like, step=samples.start)

    def outputs(one: tuple[Tensor, ...], x: Tensor) -> Tensor:
        return architecture.outputs([p[None] for p in one], x[None, None])[0, 0]

    of_samples = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))
    J = torch.func.vmap(of_samples, (0, None))(tuple(parameters), x)  # each (R, n, k, *parameter)
    return torch.cat([part.flatten(3) for part in J], dim=3).flatten(1, 2)
