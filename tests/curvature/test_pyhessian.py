import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.curvature.pyhessian.package import hessian
from lightning_landscape.errors import UsageError

BACKENDS = ["landscape", "pyhessian"]


def of(network, **kwargs):
    return hessian(network.net, nn.functional.cross_entropy, data=(network.x, network.y), **kwargs)


class Quadratic(nn.Module):
    """x.Ax/2, whose Hessian is A."""

    def __init__(self, A):
        super().__init__()
        self.A, self.x = A, nn.Parameter(torch.zeros(len(A), dtype=A.dtype))

    def forward(self, inputs):
        return self.x @ self.A @ self.x / 2


def of_matrix(A, **kwargs):
    data = (torch.zeros(1), torch.zeros(1))
    return hessian(Quadratic(A), lambda energy, _: energy, data=data, **kwargs)


def by_modulus(eigenvalues):
    return eigenvalues[eigenvalues.abs().argsort(descending=True)]


def test_eigenvalues_and_vectors_are_those_of_the_dense_matrix(network):
    H = of(network)
    values, vectors = H.eigenvalues(maxIter=100, tol=1e-3, top_n=10)
    assert values == pytest.approx(by_modulus(network.eigenvalues)[:10].tolist(), rel=1e-3)
    assert H.pairs.converged.all() and H.pairs.separated.all()
    for value, vector in zip(values, vectors, strict=True):
        assert [v.shape for v in vector] == [p.shape for p in network.net.parameters()]
        flat = torch.cat([v.flatten() for v in vector]).double()
        assert (network.H @ flat - value * flat).norm() <= 2e-3 * abs(value)


def test_on_a_symmetric_spectrum_where_power_iteration_is_lost(goe):
    """Between +l and -l power iteration stands still: its defaults return no eigenvalue at all."""
    A = goe(300)[0]
    exact = by_modulus(torch.linalg.eigvalsh(A))[:5]
    ours, theirs = of_matrix(A), of_matrix(A, backend="pyhessian")
    assert ours.eigenvalues(top_n=5)[0] == pytest.approx(exact.tolist(), rel=1e-3)
    values, _ = theirs.eigenvalues(top_n=5)
    assert max(abs(torch.tensor(values).double() - exact)) > 0.1
    assert not theirs.pairs.converged.all()  # and we say so
    assert (theirs.pairs.residuals > 0.1).any()


def test_pyhessian_agrees_where_it_is_given_time_and_its_residuals_are_true(trained):
    H = of(trained, backend="pyhessian")
    values, vectors = H.eigenvalues(maxIter=1000, tol=1e-7, top_n=3)
    assert values == pytest.approx(by_modulus(trained.eigenvalues)[:3].tolist(), rel=1e-3)
    for j, (value, vector) in enumerate(zip(values, vectors, strict=True)):
        flat = torch.cat([v.flatten() for v in vector]).double()
        flat /= flat.norm()
        residual = (trained.H @ flat - value * flat).norm().item()
        assert H.pairs.residuals[0, j].item() == pytest.approx(residual, rel=1e-2)


def test_the_trace_stops_at_its_standard_error(network):
    """4 standard errors of the samples; also where the trace is small beside its terms."""
    samples = torch.tensor(of(network).trace(maxIter=200, tol=0.05))
    error = samples.std() / len(samples) ** 0.5
    assert abs(samples.mean() - network.H.trace()) < 4 * error
    assert len(samples) == 200 or error <= 0.05 * samples.mean().abs()


def test_a_negative_trace_does_not_stop_the_sampling_early(goe):
    """The rule of PyHessian 0.1 divides by the signed mean: two samples, whatever their scatter."""
    A = goe(200)[0] - 0.5 * torch.eye(200)
    assert len(of_matrix(A, backend="pyhessian").trace(maxIter=100, tol=1e-2)) == 2
    samples = torch.tensor(of_matrix(A).trace(maxIter=100, tol=1e-2))
    assert len(samples) > 2
    assert abs(samples.mean() - A.trace()) < 4 * samples.std() / len(samples) ** 0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_density_has_the_moments_of_the_spectrum(trained, backend):
    """Mean and second moment within 4 standard errors of ten runs; all weights sum to one."""
    nodes, weights = of(trained, backend=backend).density(iter=30, n_v=10)
    nodes, weights = torch.tensor(nodes), torch.tensor(weights)
    assert nodes.shape == weights.shape == (10, 30)
    assert weights.sum(1) == pytest.approx(torch.ones(10), abs=1e-5)
    for power in (1, 2):
        moments = (weights * nodes**power).sum(1)
        exact = (trained.eigenvalues**power).mean()
        assert abs(moments.mean() - exact) < 4 * moments.std() / 10**0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_list_of_batches_is_the_mean_over_all_samples(trained, backend):
    batches = list(zip(trained.x.split(300), trained.y.split(300), strict=True))  # the last: 100
    H = hessian(trained.net, nn.functional.cross_entropy, dataloader=batches, backend=backend)
    values, _ = H.eigenvalues(maxIter=300, tol=1e-5, top_n=1)
    assert values == pytest.approx(by_modulus(trained.eigenvalues)[:1].tolist(), rel=1e-3)


def test_a_shuffling_loader_is_refused(trained):
    loader = DataLoader(TensorDataset(trained.x, trained.y), batch_size=100, shuffle=True)
    with pytest.raises(UsageError, match=r"list\(loader\)"):
        hessian(trained.net, nn.functional.cross_entropy, dataloader=loader)


@pytest.mark.parametrize("backend", BACKENDS)
def test_model_gradients_and_random_state_are_as_before(backend):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2))
    x, y = torch.randn(32, 4), torch.randint(2, (32,))
    nn.functional.cross_entropy(net(x), y).backward()
    net[2].eval()
    gradients = [p.grad.clone() for p in net.parameters()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    random, eig = torch.get_rng_state(), getattr(torch, "eig", None)
    H = hessian(net, nn.functional.cross_entropy, data=(x, y), backend=backend)
    H.eigenvalues(maxIter=5, top_n=2), H.trace(maxIter=3), H.density(iter=3)
    assert [m.training for m in net.modules()] == [True, True, True, False, True]
    assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), gradients, strict=True))
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert getattr(torch, "eig", None) is eig


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_object_does_not_double_the_hessian(trained, backend):
    """PyHessian accumulates into gradients that are there: used bare, the second is doubled."""
    first, second = of(trained, backend=backend), of(trained, backend=backend)
    one, two = (H.eigenvalues(maxIter=100, tol=1e-5)[0] for H in (first, second))
    assert one == pytest.approx(two, rel=1e-4)


def test_arguments_out_of_range_are_refused(trained):
    with pytest.raises(UsageError, match="exactly one"):
        hessian(trained.net, nn.functional.cross_entropy)
    with pytest.raises(UsageError, match="backend = fast"):
        of(trained, backend="fast")


@pytest.mark.slow
def test_the_documented_comparison_is_what_the_example_prints():
    """The rows; their numbers differ in the last digits between machines."""
    root = Path(__file__).parents[2]
    table = runpy.run_path(str(root / "examples/pyhessian_comparison.py"))["main"]()
    documented = (root / "docs/curvature.md").read_text()
    for line in table.splitlines():
        assert "|".join(line.split("|")[:3]) in documented
    defaults = [line for line in table.splitlines() if "defaults" in line]
    assert len(defaults) == 3
    for line in defaults:
        theirs, ours = line.split("|")[3:5]
        assert "5 of 5" in ours and "5 of 5" not in theirs
