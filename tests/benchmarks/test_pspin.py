"""Dense p = 3: energy and force through autograd, against peers and physical limits.

The peers' formulas are checked against ours before they are timed.
"""

import math

import pytest
import torch

from lightning_landscape.energies import SphericalPSpin
from lightning_landscape.energies.glasses._tuples import permutations, tuples

SIZES = [(N, R) for N in (128, 256, 512) for R in (1, 16, 64)]


def step(energy):
    """Energy and gradient, as an optimizer sees them."""

    def run():
        energy.x.grad = None
        energy().sum().backward()

    return run


def full_tensor(energy):
    """J with P(x) = sum over all i, j, k of J_ijk x_i x_j x_k, shape (N, N, N)."""
    N, packed = energy.N, energy.interactions[0].packed[0]
    index = torch.arange(N)
    J = packed.new_empty(N, N, N)
    for i in range(N):
        triples = torch.stack(torch.broadcast_tensors(torch.tensor(i), index[:, None], index))
        a, b, c = triples.sort(dim=0).values
        orderings = torch.tensor([6.0, 3.0, 1.0])[(a == b).long() + (b == c).long()]
        J[i] = packed[a + b * (b + 1) // 2 + c * (c + 1) * (c + 2) // 6] / orderings
    return J


def pair_matrix(J):
    """W with dP/dx_i = sum over j <= k of W_i(jk) x_j x_k: half the bytes of J."""
    j, k = tuples(len(J), 2)
    return 3 * J[:, j, k] * torch.where(j == k, 1.0, 2.0)


def same(gradient, energy):
    step(energy)()
    torch.testing.assert_close(gradient, energy.x.grad, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(("N", "R"), SIZES)
def test_against_einsum_and_autograd(compare, N, R):
    energy = SphericalPSpin(N, replicas=R)
    J, x = full_tensor(energy), energy.configuration().requires_grad_()

    def peer():
        x.grad = None
        (-torch.einsum("ijk,ri,rj,rk->r", J, x, x, x)).sum().backward()

    peer()
    same(x.grad, energy)
    compare(
        f"dense p=3, N={N}, R={R}", step(energy), peer, against="einsum + autograd", rounds=5,
        at_least={(512, 1): 3.5, (512, 64): 6.0}.get((N, R), 1.0),
    )  # fmt: skip


@pytest.mark.parametrize(("N", "R"), SIZES)
def test_against_symmetric_matrix_product(compare, N, R):
    energy = SphericalPSpin(N, replicas=R)
    J, x = 3 * full_tensor(energy).view(N, -1), energy.configuration()

    def peer():
        F = (x[:, :, None] * x[:, None, :]).view(R, -1) @ J.t()
        return F, -(x * F).sum(1) / 3

    same(-peer()[0], energy)
    compare(
        f"dense p=3, N={N}, R={R}", step(energy), peer, against="(N, N^2) @ vec(x x^T)", rounds=7,
        at_least={(512, 1): 1.6, (512, 64): 2.0}.get((N, R), 1.0 if N > 128 else 0.7),
    )  # fmt: skip


@pytest.mark.parametrize("N", [256, 512])
def test_one_replica_against_memory_bandwidth(compare, N):
    """A matrix of pairs can do no better than be read once; we read a third of its bytes."""
    energy = SphericalPSpin(N)
    numbers = energy.interactions[0].packed.numel()
    for against, rows, columns, target in (
        ("a matrix-vector product with all pairs", N, N * (N + 1) // 2, 0.75),
        ("a matrix-vector product that reads as many bytes", numbers // N, N, 0.75),
    ):
        W, column = torch.randn(rows, columns), torch.randn(columns)
        compare(
            f"dense p=3, N={N}, R=1", step(energy), lambda W=W, column=column: W @ column,
            against=against, at_least=target,
        )  # fmt: skip


def test_sixty_four_replicas_against_matrix_product_peak(compare):
    """The matrix product with all pairs does 1.5 times as many multiplications as we do."""
    energy = SphericalPSpin(512, replicas=64)
    step(energy)()
    numbers = energy.interactions[0].products.matrices.numel()
    for against, rows, columns, target in (
        ("a matrix product with all pairs", 512, 512 * 513 // 2, 0.7),
        ("one matrix product of as many multiplications", 4096, numbers // 4096, 0.7),
    ):
        W, block = torch.randn(rows, columns), torch.randn(columns, 64)
        compare(
            "dense p=3, N=512, R=64", step(energy), lambda W=W, block=block: W @ block,
            against=against, at_least=target,
        )  # fmt: skip


def test_price_of_sixty_four_replicas_in_units_of_one(compare):
    """One replica by the same products; alone it is cheaper still, in packed form.

    One replica is bound by the memory that it reads, 64 by their multiplications.
    """
    many, one = SphericalPSpin(512, replicas=64), SphericalPSpin(512)
    same_method = SphericalPSpin(512)
    same_method.interactions[0].use_products = True
    for against, other, target in (
        ("one replica, as products", same_method, 9.0),
        ("one replica, packed", one, 16.0),
    ):
        compare("dense p=3, N=512, R=64", step(many), step(other), against=against, at_most=target)


@pytest.mark.parametrize(("N", "R"), [(64, 64), (128, 32)])
def test_independent_disorder_against_matrices_of_pairs(compare, N, R):
    energy = SphericalPSpin(N, replicas=R, disorder="independent")
    (j, k), x = tuples(N, 2), energy.configuration()
    W = torch.randn(R, N, len(j))

    def peer():
        pairs = x[:, j] * x[:, k]
        return torch.stack([w @ u for w, u in zip(W, pairs, strict=True)])

    compare(
        f"dense p=3, N={N}, {R} samples", step(energy), peer, against="a matrix of pairs for each",
        at_least=1.0,
    )  # fmt: skip


def test_against_pele(compare):
    potentials = pytest.importorskip("pele.potentials", reason="pele is not installed")
    N = 64
    energy = SphericalPSpin(N, dtype="float64")
    energy.interactions[0].packed.mul_(permutations(tuples(N, 3)) == 1)
    J = full_tensor(energy) * math.factorial(3) * N
    pele, x = potentials.MeanFieldPSpinSpherical(J.numpy().ravel(), N, 3), energy.configuration()
    x = x[0].numpy()
    assert pele.getEnergy(x.copy()) == pytest.approx(energy().item(), rel=1e-12)
    compare(
        "dense p=3, N=64, R=1, float64", step(energy), lambda: pele.getEnergyGradient(x.copy()),
        against="pele", at_least=20.0,
    )  # fmt: skip
