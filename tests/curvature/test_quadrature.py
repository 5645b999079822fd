"""Spectral densities against exact spectra; brackets that hold at the level they claim."""

import math

import pytest
import torch

from lightning_landscape.curvature import DenseOperator
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.quadrature import symmetric_log_edges
from lightning_landscape.curvature.random_vectors import Deflation, unit_vectors
from lightning_landscape.curvature.slq import stochastic_lanczos
from lightning_landscape.errors import UsageError


def fraction_below(eigenvalues, x):
    return (eigenvalues < x).double().mean(-1)


def distance(quadrature, eigenvalues, replica=0):
    """Wasserstein distance to the exact spectrum, in units of its standard deviation."""
    from scipy.stats import wasserstein_distance

    nodes, weights = quadrature.nodes_and_weights
    deflation, N = quadrature.deflation, quadrature.N
    x = torch.cat([nodes[replica].flatten(), deflation.values[replica]])
    w = torch.cat([weights[replica].flatten() / nodes.shape[1], deflation.used[replica] / N])
    return wasserstein_distance(eigenvalues, x, None, w) / eigenvalues.std().item()


# the measure of one random vector


def test_moments_of_each_probe_are_exact_up_to_twice_the_steps(goe):
    """Against v.H^k v, for every replica and vector, so that none can be exchanged."""
    operator, steps = DenseOperator(goe(80, replicas=3)), 5
    quadrature = stochastic_lanczos(operator, random_vectors=4, steps=steps)
    v = unit_vectors(operator, range(4), Deflation(operator, None), seed=0)
    nodes, weights = quadrature.nodes_and_weights
    power = v
    for k in range(2 * steps):
        exact = (v * power).sum(-1)
        torch.testing.assert_close((weights * nodes**k).sum(-1), exact, atol=1e-11, rtol=1e-11)
        power = operator.matmat(power)
    beyond = ((weights * nodes ** (2 * steps)).sum(-1) - (v * power).sum(-1)).abs()
    assert beyond.min() > 1e-6


def test_bounds_hold_for_the_measure_of_each_probe_everywhere(goe):
    """Chebyshev-Markov-Stieltjes: no statistics in it, so it holds without exception."""
    H = goe(120)
    operator = DenseOperator(H)
    eigenvalues, U = torch.linalg.eigh(H[0])
    grid = torch.cat([torch.linspace(-2.5, 2.5, 101), eigenvalues[::10]]).double()
    for seed in range(5):
        quadrature = stochastic_lanczos(operator, random_vectors=1, steps=12, seed=seed)
        v = unit_vectors(operator, range(1), Deflation(operator, None), seed)[0, 0]
        measure = (U.T @ v).square()
        below = torch.stack([measure[eigenvalues < x - 1e-12].sum() for x in grid])
        up_to = torch.stack([measure[eigenvalues <= x + 1e-12].sum() for x in grid])
        bounds = quadrature.fraction_below(grid, sigmas=0.0)
        assert (bounds.lower[0] <= below + 1e-12).all()
        assert (bounds.upper[0] >= up_to - 1e-12).all()
        # sharp: at a node of the Gauss rule the gap is the weight of that node, not of two
        nodes, weights = quadrature.nodes_and_weights
        at_nodes = quadrature.fraction_below(nodes[0, 0], sigmas=0.0)
        gaps = (at_nodes.upper - at_nodes.lower)[0]
        torch.testing.assert_close(gaps, weights[0, 0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("values", [[1.0] * 30, [2.0] * 10 + [-1.0] * 20, [0.0] * 30])
def test_a_measure_of_few_atoms_ends_the_recursion(values, with_spectrum):
    quadrature = stochastic_lanczos(
        DenseOperator(with_spectrum(values)), random_vectors=3, steps=10
    )
    exact = torch.tensor(values, dtype=torch.float64)
    for power in (1, 2):
        estimate = quadrature.trace_of(lambda x, p=power: x**p)
        # within 4 of the largest standard error that a measure of two atoms can have
        scatter = 4 * 3 * (30 / (2 * 3)) ** 0.5 * (len(set(values)) - 1)
        assert (estimate.value - (exact**power).sum()).abs() <= scatter + 1e-9
    bracket = quadrature.fraction_below(torch.tensor([-3.0, -0.5, 0.5, 3.0]), sigmas=4.0)
    truth = torch.stack([fraction_below(exact, x) for x in (-3.0, -0.5, 0.5, 3.0)])
    assert (bracket.lower - 1e-6 <= truth).all() and (truth <= bracket.upper + 1e-6).all()
    plain = quadrature.fraction_below(0.5, sigmas=0.0)
    assert plain.upper - plain.lower < 1e-9  # what is left is scatter, no lack of resolution


def test_as_many_steps_as_dimensions_give_the_whole_spectrum(goe):
    H = goe(8)
    nodes, _ = stochastic_lanczos(DenseOperator(H), random_vectors=2, steps=100).nodes_and_weights
    for found in nodes[0]:
        torch.testing.assert_close(found, torch.linalg.eigvalsh(H[0]), atol=1e-9, rtol=0)


# brackets


def random_case(case, networks, goe, with_spectrum):
    """A matrix and a point: networks and glasses, in the bulk, at zero and at an edge."""
    generator = torch.Generator().manual_seed(case)
    ranks = torch.cat([torch.zeros(150), torch.rand(50, generator=generator) ** 3])
    H = [
        lambda: networks[0].H,
        lambda: networks[1].H,
        lambda: goe(200, seed=case)[0],
        lambda: with_spectrum(ranks, seed=case),
        lambda: with_spectrum(torch.randn(200, generator=generator).sign() + 0.01, seed=case),
    ][case % 5]()
    eigenvalues = torch.linalg.eigvalsh(H) if case % 5 > 1 else networks[case % 5].eigenvalues
    somewhere = int(torch.randint(len(H), (), generator=generator))
    x = (0.0, -1e-4 * eigenvalues[-1].item(), eigenvalues[somewhere].item() + 1e-9)[case % 3]
    return H, eigenvalues, x


def test_brackets_cover_the_truth_in_19_of_20_cases(trained, untrained, goe, with_spectrum):
    covered, widths = 0, []
    for case in range(40):
        H, eigenvalues, x = random_case(case, (trained, untrained), goe, with_spectrum)
        quadrature = stochastic_lanczos(DenseOperator(H), random_vectors=5, steps=30, seed=case)
        bracket = quadrature.fraction_below(x)
        # eigenvalues at x to rounding may be counted on either side
        truths = [fraction_below(eigenvalues, x + shift) for shift in (-1e-10, 1e-10)]
        covered += any(bracket.lower[0] <= t <= bracket.upper[0] for t in truths)
        widths.append((bracket.upper - bracket.lower).item())
    assert covered >= 38
    assert sorted(widths)[20] < 0.35  # and they are not trivially wide


def test_brackets_of_the_statistics_alone_are_as_wide_as_they_must_be(with_spectrum):
    """Two atoms are resolved in two steps, so that only the scatter of the vectors is left."""
    operator = DenseOperator(with_spectrum([1.0] * 60 + [-1.0] * 140).expand(300, -1, -1))
    for sigmas, least, most in [(1.0, 0.6, 0.8), (2.0, 0.92, 0.99)]:
        bracket = stochastic_lanczos(operator, random_vectors=2, steps=5).fraction_below(
            0.0, sigmas
        )
        covered = ((bracket.lower <= 0.7) & (0.7 <= bracket.upper)).double().mean()
        assert least < covered < most


def test_the_scatter_of_the_probes_is_no_error_bar_for_a_fraction(trained):
    """Most eigenvalues of a trained network are near zero, finer than any quadrature resolves."""
    x = -1e-4 * trained.eigenvalues[-1].item()
    truth = fraction_below(trained.eigenvalues, x)
    quadrature = stochastic_lanczos(DenseOperator(trained.H), random_vectors=50, steps=20)
    naive = quadrature.trace_of(lambda nodes: (nodes < x).double() / quadrature.N)
    assert (naive.value - truth).abs() > 10 * naive.error
    bracket = quadrature.fraction_below(x)
    assert bracket.lower < truth < bracket.upper
    finer = stochastic_lanczos(
        DenseOperator(trained.H), random_vectors=50, steps=200
    ).fraction_below(x)
    assert finer.lower < truth < finer.upper
    assert finer.upper - finer.lower < 0.5 * (bracket.upper - bracket.lower)


def test_a_grid_of_points_is_ordered_and_ends_at_nought_and_one(goe):
    quadrature = stochastic_lanczos(DenseOperator(goe(200, replicas=2)), 5, 40)
    grid = torch.linspace(-3, 3, 31)
    bracket = quadrature.fraction_below(grid)
    assert bracket.value.shape == (2, 31)
    assert (bracket.lower <= bracket.value + 1e-12).all()
    assert (bracket.value <= bracket.upper + 1e-12).all()
    assert (bracket.value.diff() > -1e-9).all()
    assert bracket.upper[:, 0].max() < 0.01 and bracket.lower[:, -1].min() > 0.99
    single = quadrature.fraction_below(grid[12].item())
    torch.testing.assert_close(single.value, bracket.value[:, 12])


# density


def test_traces_of_functions(untrained):
    operator = DenseOperator(untrained.H.expand(40, -1, -1))
    quadrature = stochastic_lanczos(operator, random_vectors=5, steps=15)
    for function in (torch.exp, torch.cos):
        estimate, exact = quadrature.trace_of(function), function(untrained.eigenvalues).sum()
        assert (estimate.value.mean() - exact).abs() < 4 * estimate.value.std() / 40**0.5
        claimed = estimate.error.square().mean().sqrt()
        assert (claimed / estimate.value.std() - 1).abs() < 4 / 80**0.5
    linear = quadrature.trace_of(lambda x: x)
    torch.testing.assert_close(linear.value, quadrature.traces.trace.value)
    square = quadrature.trace_of(torch.square)
    torch.testing.assert_close(square.value, quadrature.traces.trace_of_square.value)
    assert quadrature.products == 75


def test_float32_products_without_orthogonalisation_give_the_spectrum(network):
    quadrature = stochastic_lanczos(network.operator(), random_vectors=10, steps=100)
    assert distance(quadrature, network.eigenvalues) < 0.05


def test_deflated_outliers_leave_the_nodes_to_the_bulk(trained):
    """The same number of products, forty of them spent on outliers first."""
    operator = trained.operator()
    pairs = lanczos(operator, 40, max_products=100)
    assert pairs.converged.sum() >= 30
    plain = stochastic_lanczos(operator, random_vectors=10, steps=50)
    deflated = stochastic_lanczos(operator, random_vectors=10, steps=40, deflate=pairs)
    assert distance(deflated, trained.eigenvalues) < 0.8 * distance(plain, trained.eigenvalues)
    exact = trained.eigenvalues.sum()
    estimate = deflated.traces.trace
    assert (estimate.value - exact).abs() < 4 * estimate.error
    assert estimate.error < plain.traces.trace.error
    for x in (0.0, 0.3, trained.eigenvalues[-5].item() + 1e-3):
        bracket = deflated.fraction_below(x)
        exact = fraction_below(trained.eigenvalues, x)
        assert bracket.lower - 1e-12 <= exact <= bracket.upper + 1e-12  # above all bulk it is sharp


def test_the_histogram_is_a_density_with_its_resolution(goe):
    eigenvalues = torch.linalg.eigvalsh(goe(1000)[0])
    quadrature = stochastic_lanczos(DenseOperator(goe(1000)), random_vectors=20, steps=60)
    density = quadrature.density(torch.linspace(-2.2, 2.2, 12))
    assert density.fraction.sum() == pytest.approx(1, abs=1e-12)
    exact = torch.stack(
        [fraction_below(eigenvalues, b) - fraction_below(eigenvalues, a)
         for a, b in zip(density.edges, density.edges[1:], strict=False)]
    )  # fmt: skip
    assert (density.fraction[0] - exact).abs().max() < 0.02
    middle = len(exact) // 2  # semicircle: 1/pi at its centre, 60 nodes over (-2, 2)
    assert density.density[0, middle].item() == pytest.approx(1 / math.pi, rel=0.05)
    assert density.resolution[0, middle].item() == pytest.approx(2 * math.pi / 60, rel=0.2)
    assert density.scatter.max() < 0.005


def test_nodes_outside_the_edges_are_lost_and_locked_ones_are_counted(with_spectrum):
    H = with_spectrum([10.0, 5.0, *torch.linspace(-1, 1, 98).tolist()])
    operator = DenseOperator(H)
    quadrature = stochastic_lanczos(operator, 4, 30, deflate=lanczos(operator, 2))
    density = quadrature.density(torch.tensor([-1.5, 1.5, 4.0, 6.0]))
    torch.testing.assert_close(
        density.fraction[0], torch.tensor([0.98, 0, 0.01]).double(), atol=1e-6, rtol=0
    )
    assert density.resolution[0, 1] == torch.inf


def test_edges_on_a_symmetric_logarithmic_axis():
    edges = symmetric_log_edges(1e-3, 10.0, per_decade=3)
    assert len(edges) == 2 * 13 and torch.equal(edges, -edges.flip(0))
    ratios = edges[14:] / edges[13:-1]
    torch.testing.assert_close(ratios, torch.full_like(ratios, 10 ** (1 / 3)))
    with pytest.raises(UsageError, match=r"smallest = 2\.0"):
        symmetric_log_edges(2.0, 1.0)


# lockstep


def test_vectors_in_groups_are_the_same_vectors(goe):
    operator = DenseOperator(goe(60, replicas=2))
    together = stochastic_lanczos(operator, 5, 10)
    grouped = stochastic_lanczos(operator, 5, 10, memory=2 * 4 * 2 * 60 * 8)
    torch.testing.assert_close(together.alpha, grouped.alpha, atol=1e-10, rtol=0)
    torch.testing.assert_close(together.beta, grouped.beta, atol=1e-10, rtol=0)
    assert operator.products == together.products + grouped.products == 100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"random_vectors": 0}, "random_vectors = 0"), ({"steps": 0}, "steps = 0")],
)
def test_misuse_is_one_sentence(arguments, sentence, goe):
    with pytest.raises(UsageError, match=sentence):
        stochastic_lanczos(DenseOperator(goe(10)), **arguments)


def test_a_complement_of_nothing_is_refused(goe):
    operator = DenseOperator(goe(10))
    with pytest.raises(UsageError, match="deflate = 10 eigenpairs: leaves nothing"):
        stochastic_lanczos(operator, deflate=lanczos(operator, 10))
