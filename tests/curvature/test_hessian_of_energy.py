"""The curvature of our own energies, by whichever way each offers."""

import pytest
import torch
from torch import nn

from lightning_landscape.curvature import (
    DenseOperator,
    HessianOperator,
    StreamingOperator,
    TangentOperator,
    hessian_of,
    split_hessian,
)
from lightning_landscape.curvature.operators import of_energy
from lightning_landscape.curvature.operators.of_energy import product_cost
from lightning_landscape.curvature.operators.written_out import WrittenOutHessian
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Replicated
from lightning_landscape.energies.glasses.diluted import DilutedPSpin
from lightning_landscape.energies.glasses.pspin import SphericalPSpin
from lightning_landscape.energies.networks.losses import LOSSES
from lightning_landscape.energies.quadratic import Quadratic


def test_a_quadratic_energy_knows_its_matrix():
    energy = Quadratic(spectrum=[-1.0, 0.5, 3.0], replicas=2, rotate=True, dtype="float64")
    H = hessian_of(energy)
    assert isinstance(H, DenseOperator)
    exact = torch.tensor([-1.0, 0.5, 3.0], dtype=torch.float64).expand(2, -1)
    torch.testing.assert_close(torch.linalg.eigvalsh(H.dense()), exact)
    by_products = HessianOperator(energy, energy.parameters())
    torch.testing.assert_close(by_products.dense(), H.dense())


@pytest.mark.parametrize("replicas", [1, 5])
def test_the_matrices_of_a_glass_and_its_products_agree(replicas, monkeypatch):
    energy = SphericalPSpin(N=10, p=3, replicas=replicas, seed=1, dtype="float64")
    known = hessian_of(energy)
    assert isinstance(known, TangentOperator) and isinstance(known.A, DenseOperator)
    monkeypatch.setattr(of_energy, "_DENSE_BYTES", 0)
    products = hessian_of(energy)
    assert isinstance(products.A, HessianOperator)
    torch.testing.assert_close(products.dense(), known.dense())
    torch.testing.assert_close(products.multiplier, known.multiplier)


def test_the_multiplier_of_a_pure_glass():
    """mu = -x.g / N = -p E / N, because H is homogeneous of order p."""
    energy = SphericalPSpin(N=20, p=3, replicas=3, seed=2, dtype="float64")
    torch.testing.assert_close(hessian_of(energy).multiplier, -3 * energy().detach() / 20)


@pytest.mark.parametrize(("N", "samples"), [(64, 500), (128, 200), (256, 40)])
def test_a_glass_at_random_points_is_a_gaussian_matrix_up_to_its_edges(N, samples):
    """<tr (H - mu)^2> / (N - 1) = f''(1) = 3 at every N, and the edges of the GOE; 4 sigmas.

    The edges of random matrices of this size are drawn beside: two terms of the expansion in N,
    3.306 at N = 64, are still 0.4 % too far out.
    """
    tangent = hessian_of(SphericalPSpin(N=N, p=3, replicas=32, seed=1))
    eigenvalues = torch.linalg.eigvalsh(tangent.dense()) - tangent.multiplier[:, None]
    second = eigenvalues.square().mean(1)
    assert abs(second.mean() - 3) < 4 * second.std() / 32**0.5 < 0.09
    A = torch.randn(samples, N - 1, N - 1, generator=torch.Generator().manual_seed(0))
    random = torch.linalg.eigvalsh((A + A.mT) * (1.5 / N) ** 0.5)
    edges, expected = (torch.cat([x[:, -1], -x[:, 0]]) for x in (eigenvalues, random))
    error = (edges.var() / len(edges) + expected.var() / len(expected)) ** 0.5
    assert abs(edges.mean() - expected.mean()) < 4 * error < 0.12


@pytest.mark.parametrize(
    ("N", "replicas", "energy_per_N", "lowest"),
    [
        pytest.param(32, 64, (-1.051, 0.012), 0.29),
        pytest.param(64, 48, (-1.072, 0.009), 0.18, marks=pytest.mark.slow),
        pytest.param(128, 24, (-1.101, 0.007), 0.10, marks=pytest.mark.slow),
    ],
)
def test_a_quench_ends_in_minima_that_become_marginal_with_N(N, replicas, energy_per_N, lowest):
    """e = -1.1547 + 1.3 N^-2/3 and lambda_min to zero; both samples' errors, 4 sigmas."""
    energy = SphericalPSpin(N=N, p=3, replicas=replicas, disorder="independent", seed=1)
    dynamics = Langevin(energy.parameters(), lr=0.1, temperature=0.0, constraint=energy.constraint)
    for _ in range(1000):
        dynamics.zero_grad()
        energy().sum().backward()
        dynamics.step()
    e = energy().detach() / N
    own = e.std() / replicas**0.5
    assert abs(e.mean() - energy_per_N[0]) < 4 * (own**2 + energy_per_N[1] ** 2) ** 0.5
    tangent = hessian_of(energy)
    eigenvalues = torch.linalg.eigvalsh(tangent.dense())
    at_end = eigenvalues[:, 0]
    assert (at_end > 0).double().mean() > 0.9  # minima, but for a slow descent or two
    error = at_end.std() * (2 / replicas) ** 0.5
    assert abs(at_end.mean() - lowest) < 4 * error < 0.12
    # the bulk of a marginal minimum begins at its lower edge, far inside which nothing is missing
    assert (eigenvalues[:, -1] - tangent.multiplier).mean() == pytest.approx(12**0.5, rel=0.08)


def test_a_diluted_glass_is_multiplied_in_blocks():
    energy = DilutedPSpin(N=12, replicas=2, dtype="float64")
    H = hessian_of(energy)
    one_by_one = HessianOperator(energy, energy.parameters())
    g = one_by_one.gradient
    expected = TangentOperator(one_by_one, energy.configuration(), g)
    V = torch.randn(2, 5, 11, dtype=torch.float64)
    torch.testing.assert_close(H @ V, expected @ V)


def network_energy():
    data = RandomData(samples=25, dimension=4)
    nets = FullyConnected([4, 5, 1], "tanh", replicas=3, dtype="float64")
    return NetworkEnergy(nets, data, "quadratic_hinge")


def dense_of_replica(energy, r):
    """By reverse over reverse on the flat weights of one replica, from the outputs upwards."""
    nets = energy.architecture
    sizes = [p[0].numel() for p in nets.parameters()]

    def loss(x):
        parts = x.split(sizes)
        weights = [v.view(1, *p.shape[1:]) for v, p in zip(parts, nets.parameters(), strict=True)]
        f = nets.outputs(weights, energy.inputs[None])[0, :, 0]
        return (1 - energy.targets[:, 0] * f).relu().square().mean() / 2

    return torch.autograd.functional.hessian(loss, energy.configuration()[r])


def test_the_replicas_of_a_network_have_each_its_own_hessian():
    energy = network_energy()
    dense = hessian_of(energy).dense()
    for r in range(3):
        torch.testing.assert_close(dense[r], dense_of_replica(energy, r))


def test_a_network_energy_is_streamed_by_the_indices_of_its_samples():
    energy = network_energy()
    H = StreamingOperator(
        lambda rows: HessianOperator(lambda: energy(rows), energy.parameters()),
        torch.arange(25).split(10),
    )
    torch.testing.assert_close(H.dense(), hessian_of(energy).dense())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_that_exceed_one_graph_are_streamed_to_the_same_matrix(dtype, monkeypatch):
    """3 replicas of 5 + 1 activations, 4 components, 7 times: 8 samples in (154 x 8) numbers."""
    data = RandomData(samples=25, dimension=4)
    nets = FullyConnected([4, 5, 1], "tanh", replicas=3, dtype=dtype)
    energy = NetworkEnergy(nets, data, "cross_entropy")
    whole = hessian_of(energy)
    assert isinstance(whole, WrittenOutHessian) and product_cost(energy) == 1.5
    monkeypatch.setattr(of_energy, "_GRAPH_BYTES", 154 * 8 * whole.dtype.itemsize)
    seen, product = [], energy.hessian_product
    monkeypatch.setattr(
        energy, "hessian_product", lambda rows: seen.append(len(rows)) or product(rows)
    )
    streamed = hessian_of(energy)
    assert isinstance(streamed, StreamingOperator) and product_cost(energy) == 2.5
    torch.testing.assert_close(streamed.dense(), whole.dense(), rtol=1e-6, atol=1e-6)
    assert set(seen) == {6, 7}


def test_samples_that_are_normalised_together_are_streamed_together(monkeypatch):
    """25 samples, at most 10 together, are groups of 9, 9 and 7, whatever fits into memory."""

    def module():
        norm = nn.BatchNorm1d(5, track_running_stats=False)
        return nn.Sequential(nn.Linear(4, 5), norm, nn.Tanh(), nn.Linear(5, 2)).double()

    data = RandomData(samples=25, dimension=4)
    energy = NetworkEnergy(Replicated(module, 2, samples_together=10), data)
    whole = hessian_of(energy)
    monkeypatch.setattr(of_energy, "_GRAPH_BYTES", 1)
    streamed = hessian_of(energy)
    assert isinstance(streamed, StreamingOperator)
    torch.testing.assert_close(streamed.dense(), whole.dense(), rtol=1e-6, atol=1e-9)


def test_the_two_parts_of_a_network_energy_add_up():
    energy = network_energy()
    x, y = energy.inputs[None], energy.targets[None]
    value = LOSSES["quadratic_hinge"].value
    H0, Hp = split_hessian(
        lambda: energy.architecture(x), lambda f: value(f, y).mean(-1), energy.parameters()
    )
    torch.testing.assert_close((H0 + Hp).dense(), hessian_of(energy).dense())
    violated = (1 - y * energy.architecture(x) > 0).sum((1, 2))
    assert (torch.linalg.matrix_rank(H0.dense()) <= violated).all()
