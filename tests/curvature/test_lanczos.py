"""Lanczos against exact spectra, and on the cases where other solvers fail without a word."""

import pytest
import torch

from lightning_landscape.curvature import DenseOperator
from lightning_landscape.curvature.krylov import KrylovBasis
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.slq import stochastic_lanczos
from lightning_landscape.errors import UsageError


def expected(eigenvalues, k, which):
    """The wanted among the exact eigenvalues, ascending, (…, N), in the order of `lanczos`."""
    if which == "magnitude":
        return eigenvalues.gather(-1, eigenvalues.abs().argsort(-1, descending=True)[..., :k])
    highest, lowest = eigenvalues.flip(-1)[..., :k], eigenvalues[..., :k]
    ends = {"highest": highest, "lowest": lowest}
    return ends[which] if which in ends else torch.cat([highest, lowest.flip(-1)], -1)


def true_residuals(H, pairs):
    Y = pairs.eigenvectors.double()
    return torch.linalg.vector_norm(Y @ H - pairs.eigenvalues[..., None] * Y, dim=-1)


# networks


@pytest.mark.parametrize("which", ["highest", "magnitude", "both"])
def test_a_network_against_its_dense_hessian(network, which):
    pairs = lanczos(network.operator(), 10, which)
    exact = expected(network.eigenvalues, 10, which)
    assert pairs.converged.all() and pairs.separated.all()
    # a residual of 1e-3 allows 1e-3 at most, and about its square where pairs are isolated
    assert (pairs.eigenvalues / exact - 1).abs().max() < 1e-4
    assert pairs.orthogonality < 1e-4 and pairs.asymmetry < 1e-4


def test_reported_residuals_are_the_true_ones(network):
    pairs = lanczos(network.operator(), 10, "both", max_products=60)
    true = true_residuals(network.H, pairs)
    assert not pairs.converged.all()  # so that residuals of all sizes are compared
    error = (pairs.residuals - true).abs()
    assert (error <= 0.02 * true + 1e-5 * network.eigenvalues.abs().max()).all()


def test_ten_outliers_take_at_most_50_products(trained):
    operator = trained.operator()
    pairs = lanczos(operator, 10)
    assert operator.products == pairs.products <= 50


@pytest.mark.slow
def test_ten_outliers_of_the_network_of_the_survey(make_network):
    """tanh 20-64-64-10, 6154 weights, 1000 samples; against the dense matrix in float64.

    The default of PyHessian finds none of the ten to 1e-3, hessian-eigenthings five.
    """
    case = make_network(training_steps=200, width=64, samples=1000)
    assert len(case.eigenvalues) == 6154
    exact = case.eigenvalues[case.eigenvalues.abs().argsort(descending=True)][:10]
    pairs = lanczos(case.operator(), 10)
    assert pairs.converged.all() and pairs.separated.all()
    assert (pairs.eigenvalues[0] / exact - 1).abs().max() < 1e-5
    assert pairs.products <= 50


def test_two_hundred_steps_make_no_ghosts(trained):
    basis = KrylovBasis(trained.operator(), rows=201, block=1, seed=0)
    while basis.multiplied < 200:
        basis.expand()
    top = basis.ritz().values[0].flip(0)[:40]
    assert (top / trained.eigenvalues.flip(0)[:40] - 1).abs().max() < 1e-4
    overlap = basis.vectors[0] @ basis.vectors[0].T - torch.eye(201)
    assert overlap.abs().max() < 1e-4  # float32; without Gram-Schmidt it is of order 1
    # the test can fail: without Gram-Schmidt, as in a plain recursion, copies appear
    assert copies_of_the_top(plain_recursion(trained.operator(), 200)) > 3
    assert copies_of_the_top(top) == 1


def plain_recursion(operator, steps):
    q, previous, beta = torch.randn(1, 1, operator.N), 0.0, 0.0
    q /= q.norm()
    T = torch.zeros(steps + 1, steps + 1, dtype=torch.float64)
    for j in range(steps):
        w = operator.matmat(q) - beta * previous
        alpha = (q * w).sum()
        w -= alpha * q
        beta = w.norm()
        previous, q = q, w / beta
        T[j, j], T[j, j + 1], T[j + 1, j] = alpha, beta, beta
    return torch.linalg.eigvalsh(T[:steps, :steps]).flip(0)


def copies_of_the_top(values):
    return ((values / values[0] - 1).abs() < 1e-5).sum()


# matrices


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("which", ["highest", "lowest", "both", "magnitude"])
def test_a_symmetric_spectrum_keeps_its_signs_and_its_order(which, dtype, goe):
    """GOE: +l and -l compete, where power iteration returns numbers in between."""
    H = goe(300, replicas=3, dtype=dtype)
    pairs = lanczos(DenseOperator(H), 5, which)
    exact = expected(torch.linalg.eigvalsh(H.double()), 5, which)
    assert pairs.converged.all() and pairs.separated.all()
    assert (pairs.eigenvalues - exact).abs().max() < 2e-5
    assert (true_residuals(H.double(), pairs) <= 1.1e-3 * pairs.eigenvalues.abs()).all()


def test_a_block_of_two_misses_nothing_in_the_edge_of_a_bulk(goe):
    """Where two eigenvalues are close, a single vector may not see the outer one in time."""
    H = goe(300, replicas=200, seed=6, dtype=torch.float32)[[4, 16, 131, 163]]
    exact = expected(torch.linalg.eigvalsh(H.double()), 1, "magnitude")
    single, block = (
        torch.stack([lanczos(DenseOperator(h), 1, block=b).eigenvalues[0] for h in H])
        for b in (1, 2)
    )
    assert (block - exact).abs().max() < 1e-3
    assert ((single - exact).abs() > 1e-3).any()  # 2 of all 200


def test_a_block_finds_multiple_eigenvalues_and_a_single_vector_one_copy_of_each(with_spectrum):
    values = [1, 1, 1, 0.7, 0.7, -0.6, -0.6, *torch.linspace(-0.3, 0.3, 193).tolist()]
    operator = DenseOperator(with_spectrum(values))
    block = lanczos(operator, 7, block=3)
    top = torch.tensor([1, 1, 1, 0.7, 0.7, -0.6, -0.6], dtype=torch.float64)
    torch.testing.assert_close(block.eigenvalues[0], top, atol=1e-5, rtol=0)
    assert block.converged.all() and block.orthogonality < 1e-12
    single = lanczos(operator, 3)
    top = torch.tensor([1, 0.7, -0.6], dtype=torch.float64)
    torch.testing.assert_close(single.eigenvalues[0], top, atol=1e-5, rtol=0)
    assert single.converged.all()  # true pairs; what is missing no residual can show


@pytest.mark.parametrize("block", [1, 2, 3])
def test_a_matrix_of_low_rank_is_an_invariant_space_of_few_steps(block, with_spectrum):
    H = with_spectrum([5.0, 3.0, -2.0] + [0.0] * 47)
    pairs = lanczos(DenseOperator(H), 5, "magnitude", block=block)
    exact = torch.tensor([5, 3, -2, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(pairs.eigenvalues[0], exact, atol=1e-12, rtol=0)
    assert pairs.converged.all() and pairs.orthogonality < 1e-12


@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_the_zero_matrix_and_a_multiple_of_the_identity(factor):
    pairs = lanczos(DenseOperator(factor * torch.eye(20)), 4)
    assert (pairs.eigenvalues - factor).abs().max() < 1e-6
    assert pairs.converged.all() and pairs.orthogonality < 1e-6


@pytest.mark.parametrize(("N", "block"), [(1, 1), (2, 2), (6, 1), (7, 3)])
def test_a_matrix_smaller_than_the_number_of_steps_is_solved_completely(N, block, goe):
    H = goe(N, replicas=2)
    pairs = lanczos(DenseOperator(H), N, "highest", block=block)
    exact = torch.linalg.eigvalsh(H).flip(1)
    torch.testing.assert_close(pairs.eigenvalues, exact, atol=1e-12, rtol=0)
    assert pairs.products == N and pairs.converged.all() and pairs.separated.all()


# replicas, memory, budget


def test_replicas_in_lockstep_are_single_runs(goe, with_spectrum):
    H = goe(200, replicas=4)
    H[1] = with_spectrum([2.0] * 10 + [1.0] * 190)  # ends after two steps while others go on
    together = lanczos(DenseOperator(H), 3, "both")
    for r in range(4):
        alone = lanczos(DenseOperator(H[r]), 3, "both")
        torch.testing.assert_close(together.eigenvalues[r], alone.eigenvalues[0], atol=3e-5, rtol=0)
        if r != 1:
            overlap = (together.eigenvectors[r] * alone.eigenvectors[0]).sum(-1).abs()
            assert overlap.min() > 1 - 1e-3


@pytest.mark.parametrize("which", ["highest", "both", "magnitude"])
@pytest.mark.parametrize("block", [1, 2])
def test_a_memory_cap_changes_the_products_and_not_the_pairs(which, block, monkeypatch, goe):
    H = goe(400, replicas=2)
    held = []
    original = KrylovBasis.compress
    monkeypatch.setattr(
        KrylovBasis, "compress", lambda b, S: (held.append(b.vectors.nbytes), original(b, S))
    )
    memory = 30 * 2 * 400 * 8
    capped = lanczos(DenseOperator(H), 5, which, block=block, memory=memory)
    assert len(held) > 2 and max(held) <= memory
    free = lanczos(DenseOperator(H), 5, which, block=block)
    assert capped.converged.all() and capped.separated.all()
    torch.testing.assert_close(capped.eigenvalues, free.eigenvalues, atol=1e-5, rtol=0)
    assert free.products <= capped.products < 2.5 * free.products


def test_compression_keeps_the_krylov_relation(goe):
    H = goe(60, replicas=2)
    basis = KrylovBasis(DenseOperator(H), rows=60, block=2, seed=0)
    for _ in range(8):
        basis.expand()
    basis.compress(basis.ritz().vectors[..., -7:])
    for _ in range(3):
        basis.expand()
    m, size = basis.multiplied, basis.size
    assert (m, size) == (7 + 6, 7 + 6 + 2)
    Q, C = basis.vectors[:, :size], basis.coefficients[:, :size, :m]
    torch.testing.assert_close(Q[:, :m] @ H, C.mT @ Q, atol=1e-12, rtol=0)
    identity = torch.eye(size, dtype=torch.float64).expand(2, -1, -1)
    torch.testing.assert_close(Q @ Q.mT, identity, atol=1e-12, rtol=0)


def test_what_has_not_converged_says_so(goe):
    H = goe(500)
    pairs = lanczos(DenseOperator(H), 8, "highest", max_products=40)
    true = true_residuals(H, pairs)
    torch.testing.assert_close(pairs.residuals, true, atol=1e-12, rtol=1e-9)
    assert torch.equal(pairs.converged, true <= 1e-3 * pairs.eigenvalues.abs() + 1e-14)
    assert not pairs.converged.all() and not pairs.separated.any() and pairs.products == 40


class NewMaskAtEachProduct(CurvatureOperator):
    """A matrix that changes from product to product, like a Hessian under dropout."""

    def __init__(self, H, noise):
        super().__init__(1, len(H), H.dtype)
        self.H, self.noise = H, noise
        self.generator = torch.Generator().manual_seed(0)

    def multiply(self, V):
        mask = torch.rand(self.H.shape, generator=self.generator, dtype=self.dtype) < self.noise
        return V @ self.H.masked_fill(mask, 0.0)


def test_an_operator_that_is_not_one_symmetric_matrix_is_found_out(with_spectrum):
    H = with_spectrum([10.0, 8.0, 6.0, *torch.linspace(-1, 1, 197).tolist()])
    noisy = lanczos(NewMaskAtEachProduct(H, noise=0.2), 3)
    assert noisy.asymmetry > 1e-2 and not noisy.converged.any()
    assert noisy.products < 50  # noise does not shrink, so the budget is not spent on it
    quiet = lanczos(NewMaskAtEachProduct(H, noise=0.0), 3)
    assert quiet.asymmetry < 1e-12 and quiet.converged.all()


def test_a_seed_gives_the_same_bits_and_another_seed_the_same_pairs(goe):
    operator = DenseOperator(goe(150, dtype=torch.float32))
    first, again, other = (lanczos(operator, 4, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.eigenvalues, again.eigenvalues)
    assert torch.equal(first.eigenvectors, again.eigenvectors)
    assert not torch.equal(first.eigenvectors, other.eigenvectors)
    torch.testing.assert_close(first.eigenvalues, other.eigenvalues, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"which": "largest"}, 'which = largest: must be "highest", "lowest", "both" or'),
        ({"k": 0}, "k = 0: must lie between 1 and the size N = 50"),
        ({"k": 26, "which": "both"}, "k = 26: must lie between 1 and half the size N = 50"),
        ({"tolerance": 0.0}, "tolerance = 0.0: must be greater than 0"),
        ({"block": 51}, "block = 51: must lie between 1 and the size N = 50"),
        ({"max_products": 9}, "max_products = 9: 10 eigenpairs take at least as many"),
        ({"memory": 4000}, "memory = 4000: holds 10 basis vectors of 400 bytes, and 23 are needed"),
    ],
)
def test_misuse_is_one_sentence_and_costs_no_product(arguments, sentence, goe):
    operator = DenseOperator(goe(50))
    with pytest.raises(UsageError) as error:
        lanczos(operator, **arguments)
    assert str(error.value).startswith(sentence)
    assert operator.products == 0


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph=True")
@pytest.mark.parametrize("solver", [lanczos, stochastic_lanczos])
def test_a_product_that_is_not_finite_names_its_replica(solver, goe):
    operator = DenseOperator(goe(50, replicas=3))
    operator.matrices[1, 2, 2] = torch.nan
    with pytest.raises(UsageError, match="H v = nan or inf in replica 1: must be finite"):
        solver(operator)


@pytest.mark.filterwarnings("ignore:Using backward")  # PyTorch says it once a process, or not
def test_agrees_with_pyhessian_where_that_is_right(trained):
    pyhessian = pytest.importorskip("pyhessian")
    peer = pyhessian.hessian(
        trained.net, torch.nn.functional.cross_entropy, data=(trained.x, trained.y), cuda=False
    )
    values, _ = peer.eigenvalues(maxIter=1000, tol=1e-6, top_n=3)
    trained.net.zero_grad(set_to_none=True)
    ours = lanczos(trained.operator(), 3).eigenvalues[0]
    torch.testing.assert_close(ours, torch.tensor(values).double(), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("which", "block"), [("highest", 1), ("highest", 2), ("both", 2)])
def test_a_multiple_eigenvalue_is_no_obstacle_at_small_tolerance(which, block):
    """100 zero modes of 120: with one Gram-Schmidt pass orthogonality is lost at vector 25."""
    values = torch.cat([torch.zeros(100), torch.linspace(1, 2, 20, dtype=torch.float64)])
    Q = torch.linalg.qr(torch.randn(120, 120, dtype=torch.float64)).Q
    pairs = lanczos(DenseOperator((Q * values) @ Q.mT), 4, which, tolerance=1e-10, block=block)
    exact = values.flip(0)[:4] if which == "highest" else values.flip(0)[[0, 1, 2, 3, *[-1] * 4]]
    assert pairs.converged.all() and pairs.separated.all()
    assert pairs.orthogonality < 1e-13
    assert pairs.products < 60
    torch.testing.assert_close(pairs.eigenvalues[0], exact, atol=1e-12, rtol=0)


def test_a_known_direction_saves_products():
    """The first eigenvector is found where the guess is near the second, with a tenth of it."""
    spectrum = torch.cat([torch.tensor([3.0, 2.5]), torch.linspace(0, 1, 498)])
    operator = DenseOperator(spectrum.diag())
    first, second = torch.eye(500)[:2].split(1)
    settings = {"k": 1, "which": "highest", "tolerance": 1e-2}
    cold = lanczos(operator, **settings)
    near = lanczos(operator, **settings, start=4 * (first + 0.1 * second))
    swapped = lanczos(operator, **settings, start=4 * (second + 0.1 * first))
    for found in (cold, near, swapped):
        assert found.eigenvalues.item() == pytest.approx(3.0, rel=1e-3)
    assert near.products < 0.7 * cold.products
