"""Traces and diagonals: unbiased, with standard errors that mean what they say."""

import dataclasses

import pytest
import torch
from scipy import stats

from lightning_landscape.curvature import DenseOperator, blocks
from lightning_landscape.curvature.dense import spectrum
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.random_vectors import signs
from lightning_landscape.curvature.trace import hutchinson
from lightning_landscape.curvature.xtrace import xtrace
from lightning_landscape.errors import UsageError

COPIES = 300  # of one matrix as replicas: as many independent estimates in one run


def copies(H, R=COPIES, dtype=torch.float32):
    return DenseOperator(H.to(dtype).expand(R, -1, -1))


def assert_calibrated(estimate, truth, vectors):
    """The mean is right, and the errors are the scatter, each to 4 standard errors."""
    R = len(estimate.value)
    scatter = estimate.value.std()
    assert (estimate.value.mean() - truth).abs() < 4 * scatter / R**0.5
    claimed = estimate.error.square().mean().sqrt()
    assert (claimed / scatter - 1).abs() < 4 / (2 * R) ** 0.5
    within = ((estimate.value - truth).abs() <= estimate.error).double().mean()
    student = stats.t.cdf(1, vectors - 1) - stats.t.cdf(-1, vectors - 1)
    assert (within - student).abs() < 4 * (student * (1 - student) / R) ** 0.5


@pytest.fixture(params=["trained", "untrained", "negative trace"])
def matrix(request, goe):
    if request.param == "negative trace":
        return goe(100)[0] - 0.3 * torch.eye(100, dtype=torch.float64)
    return request.getfixturevalue(request.param).H[:400, :400]


def test_traces_are_unbiased_and_their_errors_calibrated(matrix):
    H = matrix
    half = slice(0, len(H) // 2)
    traces = hutchinson(copies(H), random_vectors=16, parts={"half": half})
    assert_calibrated(traces.trace, H.trace(), 16)
    assert_calibrated(traces.trace_of_square, H.square().sum(), 16)
    assert_calibrated(traces.parts["half"], H[half, half].trace(), 16)
    diagonal = traces.diagonal
    error = (diagonal.value.mean(0) - H.diagonal()) / (diagonal.value.std(0) / COPIES**0.5)
    assert error.abs().max() < 5 and abs(error.std() - 1) < 0.15  # 400 entries
    ratio = diagonal.error.square().mean(0).sqrt() / diagonal.value.std(0)
    assert (ratio.mean() - 1).abs() < 0.02  # n for n - 1 would be 3 %


def test_deflation_is_exact_where_the_variance_was(trained):
    """tr H and tr H^2 with twenty outliers taken out: still unbiased, with a smaller error."""
    operator = copies(trained.H, R=1)
    pairs = lanczos(operator, 30)
    plain = hutchinson(operator, 60)
    deflated = hutchinson(operator, 60, deflate=pairs, parts=blocks(trained.net))
    truth = {
        "trace": trained.eigenvalues.sum(),
        "trace_of_square": trained.eigenvalues.square().sum(),
    }
    for name, exact in truth.items():
        before, after = getattr(plain, name), getattr(deflated, name)
        assert (before.value - exact).abs() < 4 * before.error
        assert (after.value - exact).abs() < 4 * after.error
        assert after.error < 0.75 * before.error
    parts = blocks(trained.net)
    for name, part in parts.items():
        exact = trained.H[part, part].trace()
        estimate = deflated.parts[name]
        assert (estimate.value - exact).abs() < 4 * estimate.error
    total = sum(estimate.value for estimate in deflated.parts.values())
    torch.testing.assert_close(total, deflated.trace.value, rtol=1e-5, atol=0)
    torch.testing.assert_close(
        deflated.diagonal.value.sum(1), deflated.trace.value, rtol=1e-5, atol=0
    )


def test_pairs_that_have_not_converged_are_left_to_the_random_vectors(goe):
    H = goe(100)[0]
    operator = copies(H, R=3, dtype=torch.float64)
    rough = lanczos(operator, 20, "highest", max_products=25)
    assert 0 < rough.converged.sum() < rough.converged.numel()
    estimate = hutchinson(operator, 40, deflate=rough).trace
    assert ((estimate.value - H.trace()).abs() < 4 * estimate.error).all()


def test_any_orthonormal_vectors_may_be_deflated_without_bias(goe):
    """Of a rough pair, |Hy|^2 is the square of its value and that of its residual."""
    H = goe(60)[0]
    operator = copies(H, dtype=torch.float64)
    Y = torch.linalg.qr(torch.randn(60, 10, dtype=torch.float64)).Q.T.expand(COPIES, -1, -1)
    values = (Y * (Y @ H)).sum(-1)
    rough = dataclasses.replace(
        lanczos(operator, 10),
        eigenvalues=values,
        eigenvectors=Y,
        residuals=torch.linalg.vector_norm(Y @ H - values[..., None] * Y, dim=-1),
    )
    traces = hutchinson(operator, 16, deflate=rough)
    assert_calibrated(traces.trace, H.trace(), 16)
    assert_calibrated(traces.trace_of_square, H.square().sum(), 16)
    assert (
        rough.residuals[0].square().sum() > 10 * traces.trace_of_square.error.mean() / COPIES**0.5
    )


def test_a_diagonal_matrix_has_no_variance():
    values = torch.linspace(-1, 2, 50, dtype=torch.float64)
    traces = hutchinson(DenseOperator(values.diag()), random_vectors=2)
    for estimate, exact in [
        (traces.trace, values.sum()),
        (traces.trace_of_square, values.square().sum()),
        (traces.diagonal, values),
    ]:
        torch.testing.assert_close(estimate.value[0], exact, atol=1e-12, rtol=0)
        assert estimate.error.max() < 1e-12


def test_vectors_in_groups_are_the_same_vectors(goe):
    operator = DenseOperator(goe(60, replicas=2))
    together = hutchinson(operator, 12)
    grouped = hutchinson(operator, 12, memory=5 * 3 * 2 * 60 * 8)
    for name in ("trace", "trace_of_square", "diagonal"):
        for number in ("value", "error"):
            a, b = (getattr(getattr(traces, name), number) for traces in (together, grouped))
            torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


@pytest.mark.parametrize("vectors", [0, 1])
def test_one_vector_has_no_error_and_is_refused(vectors, goe):
    with pytest.raises(UsageError, match=f"random_vectors = {vectors}: must be at least 2"):
        hutchinson(DenseOperator(goe(10)), vectors)


# XTrace


def test_xtrace_is_the_mean_of_its_leave_one_out_estimates(goe):
    """Against the definition: one QR for each vector left out, one matrix at a time."""
    operator, m, N = DenseOperator(goe(30, replicas=2)), 6, 30
    vectors, estimate = signs(operator, range(m), seed=0), xtrace(operator, 2 * m)
    for H, omega, value, error in zip(
        operator.matrices, vectors, estimate.value, estimate.error, strict=True
    ):
        values = []
        for i in range(m):
            others = omega[torch.arange(m) != i]
            Q = torch.linalg.qr(H @ others.T).Q
            mu = omega[i] - Q @ (Q.T @ omega[i])
            values.append((Q.T @ H @ Q).trace() + (N - m + 1) * mu @ H @ mu / (mu @ mu))
        values = torch.stack(values)
        torch.testing.assert_close(value, values.mean(), atol=1e-10, rtol=0)
        torch.testing.assert_close(error, values.std() / m**0.5, atol=1e-10, rtol=0)


def test_xtrace_beats_plain_vectors_where_few_eigenvalues_dominate(with_spectrum):
    H = with_spectrum(1 / torch.arange(1, 301).double() ** 2)
    operator = copies(H)
    exchangeable, plain = xtrace(operator, 60), hutchinson(operator, 60).trace
    rms = [(e.value - H.trace()).square().mean().sqrt() for e in (exchangeable, plain)]
    assert rms[0] < 0.05 * rms[1]


def test_xtrace_is_unbiased_on_networks_and_its_error_close(network):
    """The leave-one-out values are nearly independent: the errors agree to a fifth."""
    estimate, truth = xtrace(copies(network.H, R=100), 40), network.H.trace()
    scatter = estimate.value.std()
    assert (estimate.value.mean() - truth).abs() < 4 * scatter / 100**0.5
    claimed = estimate.error.square().mean().sqrt()
    assert (claimed / scatter - 1).abs() < 4 / 200**0.5


def test_xtrace_is_exact_for_a_matrix_of_lower_rank_than_its_vectors(with_spectrum):
    H = with_spectrum([5.0, 3.0, -2.0, 1.0] + [0.0] * 46)
    estimate = xtrace(DenseOperator(H), 20)
    torch.testing.assert_close(estimate.value[0], H.trace(), atol=1e-6, rtol=0)
    assert estimate.error < 1e-6


@pytest.mark.parametrize("products", [4, 20])
def test_xtrace_of_small_and_of_zero_matrices(products, goe):
    H = goe(10, replicas=50)
    estimate = xtrace(DenseOperator(H), products)
    truth = H.diagonal(dim1=1, dim2=2).sum(1)
    pull = (estimate.value - truth) / (estimate.value - truth).std()
    assert pull.mean().abs() < 4 / 50**0.5
    zero = xtrace(DenseOperator(torch.zeros(10, 10)), products)
    assert zero.value.abs() < 1e-6 and zero.error < 1e-6


@pytest.mark.parametrize("products", [2, 7, 22])
def test_xtrace_refuses_what_it_cannot_split(products, goe):
    with pytest.raises(UsageError, match=f"products = {products}: must be even"):
        xtrace(DenseOperator(goe(10)), products)


# dense


def test_the_whole_spectrum_of_small_matrices(goe):
    H = goe(40, replicas=3)
    result = spectrum(DenseOperator(H))
    torch.testing.assert_close(result.eigenvalues, torch.linalg.eigvalsh(H))
    assert result.products == 0 and result.error.max() < 1e-12
    below = (result.eigenvalues < 0.5).double().mean(1)
    assert torch.equal(result.fraction_below(0.5), below)


def test_the_error_of_a_spectrum_covers_the_asymmetry_of_its_products(trained):
    operator = trained.operator()
    operator.chunk = 8
    result = spectrum(operator)
    assert result.products == len(trained.H)
    off = (result.eigenvalues[0] - trained.eigenvalues).abs().max()
    assert 0 < off < 10 * result.error and result.error < 1e-4
