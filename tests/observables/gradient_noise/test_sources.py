"""Variance and covariance of per-sample gradients, against a loop over samples."""

import pytest
import torch
from torch import nn

from lightning_landscape.curvature import lanczos
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic, Replicated
from lightning_landscape.errors import UsageError
from lightning_landscape.observables import GroupGradients, batch_factor, gradients_of
from lightning_landscape.testing import OperatorCase, OperatorContract

P, R = 30, 2


def sequential():
    return nn.Sequential(nn.Unflatten(-1, (1, 2, 3)), nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(),
                         nn.Linear(4, 3)).double()  # fmt: skip


def architecture(kind, dtype="float64"):
    if kind == "stacked":
        return Replicated(sequential, replicas=R)
    if kind == "residual":
        return FullyConnected([6, 5, 5, 3], "tanh", replicas=R, dtype=dtype, skip=0.7)
    activation = {"deep": "tanh", "relu": "relu"}[kind]
    widths = {"deep": [6, 5, 4, 3], "relu": [6, 7, 3]}[kind]
    return FullyConnected(widths, activation, replicas=R, bias_variance=0.1, dtype=dtype)


def network(kind="deep", dtype="float64"):
    return NetworkEnergy(architecture(kind, dtype), RandomData(P, 6, classes=3))


def gradient(energy, batch):
    parts = torch.autograd.grad(energy(batch).sum(), list(energy.parameters()))
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def loop(energy):
    """The gradient of each sample by itself, shape (P, R, N)."""
    return torch.stack([gradient(energy, torch.tensor([mu])) for mu in range(P)])


KINDS = pytest.mark.parametrize("kind", ["deep", "relu", "residual", "stacked"])


@KINDS
@pytest.mark.parametrize("memory", [2**26, 1])
def test_moments_are_those_of_a_loop_over_samples(kind, memory):
    """In one portion, and in portions of one sample."""
    energy = network(kind)
    G, moments = loop(energy), gradients_of(energy, memory=memory).moments()
    assert moments.count == P
    torch.testing.assert_close(moments.mean, G.mean(0), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(moments.variance, G.var(0), rtol=1e-11, atol=1e-15)


def test_of_some_samples_only():
    energy, rows = network(), torch.tensor([3, 17, 8])
    moments = gradients_of(energy, rows).moments()
    torch.testing.assert_close(moments.variance, loop(energy)[rows].var(0), rtol=1e-11, atol=1e-15)


def test_single_precision_survives_samples_that_nearly_agree():
    """A variance of 1e-8 of the squared mean is lost where squares of float32 are subtracted."""
    data = RandomData(P, 6, classes=3)
    data.inputs = 1 + 1e-4 * data.inputs
    data.targets = torch.zeros(P, dtype=torch.int64)
    single = NetworkEnergy(FullyConnected([6, 5, 3], "tanh"), data)
    double = NetworkEnergy(FullyConnected([6, 5, 3], "tanh", dtype="float64"), data)
    double.load_configuration(single.configuration().double())
    variances = [gradients_of(energy).moments().variance for energy in (single, double)]
    assert (variances[1] < 1e-6 * loop(double).mean(0).square()).any()
    assert abs(variances[0].sum() / variances[1].sum() - 1) < 1e-2


@KINDS
@pytest.mark.parametrize("memory", [2**26, 1])
def test_projections_are_scalar_products(kind, memory):
    energy = network(kind)
    V = torch.randn(R, 4, energy.N, dtype=torch.float64)
    expected = torch.einsum("rkn,mrn->rkm", V, loop(energy))
    found = gradients_of(energy, memory=memory).projections(V)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


class TestCovariance(OperatorContract):
    """The whole of S from one graph, and from portions of the samples."""

    memory = 2**26

    def case(self, dtype):
        name = str(dtype).removeprefix("torch.")
        energy, reference = network(dtype=name), network()
        reference.load_configuration(energy.configuration().double())
        S = torch.stack([torch.cov(G.T) for G in loop(reference).unbind(1)])
        return OperatorCase(
            lambda: gradients_of(energy, memory=self.memory).covariance(), S, energy
        )


class TestStreamedCovariance(TestCovariance):
    memory = 1000


def test_its_leading_spectrum_is_that_of_the_dense_matrix():
    energy = network("relu")
    S = torch.stack([torch.cov(G.T) for G in loop(energy).unbind(1)])
    values, vectors = torch.linalg.eigh(S)
    pairs = lanczos(gradients_of(energy).covariance(), k=4, which="highest", tolerance=1e-8)
    torch.testing.assert_close(pairs.eigenvalues, values[:, -4:].flip(1), rtol=1e-8, atol=0)
    overlaps = (pairs.eigenvectors * vectors[..., -4:].mT.flip(1)).sum(-1).abs()
    assert (overlaps > 1 - 1e-8).all()


@pytest.mark.parametrize("replacement", [False, True])
def test_mini_batches_of_a_run_have_the_covariance_of_theory(replacement):
    """6000 batches of `Batches`: tr C and the largest eigenvalue, each within 4 standard errors."""
    energy, B, steps = network(), 10, 6000
    batches = Batches(B, seed=5, replacement=replacement)
    G, replicas = loop(energy), torch.arange(R)[:, None]
    noise = torch.stack([G[batches(k, P, R), replicas].mean(1) for k in range(steps)])
    torch.testing.assert_close(noise[7], gradient(energy, batches(7, P, R)))
    noise -= gradient(energy, None)
    source, factor = gradients_of(energy), batch_factor(B, P, replacement)
    D = factor * source.moments().variance
    squares = noise.square().sum(-1)
    # batches of one epoch are anticorrelated, which only helps
    error = squares.std(0) / steps**0.5
    assert ((squares.mean(0) - D.sum(1)).abs() < 4 * error).all()
    pairs = lanczos(source.covariance(), k=1, which="highest", tolerance=1e-6)
    along = (noise * pairs.eigenvectors[:, 0]).sum(-1).square()
    difference = along.mean(0) - factor * pairs.eigenvalues[:, 0]
    assert (difference.abs() < 4 * along.std(0) / steps**0.5).all()
    wrong = batch_factor(B, P, not replacement) * source.moments().variance.sum(1)
    assert ((squares.mean(0) - wrong).abs() > 4 * error).all()


def groups(energy, count):
    rows = torch.arange(P).chunk(count)
    return GroupGradients([lambda r=r: energy(r) for r in rows], energy.parameters(), P // count)


def test_groups_of_one_sample_are_samples():
    energy = network()
    source, samples = groups(energy, P), gradients_of(energy)
    torch.testing.assert_close(source.moments().variance, samples.moments().variance)
    V = torch.randn(R, 3, energy.N, dtype=torch.float64)
    torch.testing.assert_close(source.projections(V), samples.projections(V))
    single = NetworkEnergy(architecture("deep"), RandomData(P, 6, classes=3))

    def losses(rows):
        return single.losses(tuple(single.parameters()), rows).mean(-1)

    parts = [lambda m=m: losses(torch.tensor([m])) for m in range(P)]
    operator = GroupGradients(parts, single.parameters(), 1).covariance()
    torch.testing.assert_close(operator.dense(), samples.covariance().dense())


def test_gradients_of_groups_that_do_not_fit_are_refused():
    like = torch.zeros(2**20, requires_grad=True)
    with pytest.raises(UsageError, match=r"groups = 1000: .* exceed 2 GiB"):
        GroupGradients([lambda: like.sum()] * 1000, [like], 1).covariance()


def test_the_spread_of_groups_gives_that_of_samples():
    """b times the variance of group means, averaged over 400 ways to group, within 4 s.e."""
    energy, traces = network(), []
    G, numbers = loop(energy), torch.Generator().manual_seed(0)
    for _ in range(400):
        rows = torch.randperm(P, generator=numbers).view(6, 5)
        traces.append(5 * G[rows].mean(1).var(0).sum(1))
    traces = torch.stack(traces)
    exact = gradients_of(energy).moments().variance.sum(1)
    assert ((traces.mean(0) - exact).abs() < 4 * traces.std(0) / 20).all()


def test_what_has_no_samples_is_refused():
    with pytest.raises(UsageError, match="energy = Quadratic"):
        gradients_of(Quadratic([1.0]))
    with pytest.raises(UsageError, match="samples = 1"):
        gradients_of(network(), torch.tensor([0]))
    with pytest.raises(UsageError, match="groups = 1"):
        groups(network(), 1)
    coupled = network()
    coupled.architecture.samples_together = 8  # as with batch normalisation
    with pytest.raises(UsageError, match="samples see each other"):
        gradients_of(coupled)
