"""Sums, multiples, shifts, projections, subsets, spheres and SciPy, against dense algebra."""

import math

import pytest
import scipy.sparse
import torch
import torch.distributed as dist
from scipy.sparse.linalg import LinearOperator, eigsh

from lightning_landscape import parallel
from lightning_landscape.curvature import (
    CurvatureOperator,
    DenseOperator,
    MeanOverRanks,
    ProjectedOperator,
    ScipyOperator,
    ShiftedOperator,
    SubsetOperator,
    TangentOperator,
    as_scipy,
)
from lightning_landscape.curvature.operators import base as operator
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere
from lightning_landscape.testing import OperatorCase, OperatorContract

R, N = 3, 7


def matrices(seed=0, replicas=R):
    g = torch.Generator().manual_seed(seed)
    A = torch.randn(replicas, N, N, generator=g, dtype=torch.float64)
    return (A + A.mT) / 2


def vectors(*shape, seed=5):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestDense(OperatorContract):
    def case(self, dtype):
        return OperatorCase(lambda: DenseOperator(matrices().to(dtype)), matrices())


class TestSumsAndMultiples(OperatorContract):
    def case(self, dtype):
        A, B, c = matrices(0), matrices(1), vectors(R)
        dense = 2 * A - c[:, None, None] * B

        def build():
            A_, B_ = DenseOperator(A.to(dtype)), DenseOperator(B.to(dtype))
            return 2.0 * A_ - B_ * c

        return OperatorCase(build, dense)


class TestShifted(OperatorContract):
    def case(self, dtype):
        A, mu = matrices(), vectors(R)
        dense = A + mu[:, None, None] * torch.eye(N)
        return OperatorCase(lambda: ShiftedOperator(DenseOperator(A.to(dtype)), mu), dense)


class TestProjected(OperatorContract):
    def case(self, dtype):
        A, n = matrices(), vectors(R, 2, N)
        P = torch.eye(N) - n.mT @ torch.linalg.inv(n @ n.mT) @ n
        return OperatorCase(lambda: ProjectedOperator(DenseOperator(A.to(dtype)), n), P @ A @ P)


class TestSubset(OperatorContract):
    mask = torch.tensor([True, False, True, True, False, False, True])

    def case(self, dtype):
        A = matrices()
        dense = A[:, self.mask][:, :, self.mask]
        return OperatorCase(lambda: SubsetOperator(DenseOperator(A.to(dtype)), self.mask), dense)


class TestScipy(OperatorContract):
    def case(self, dtype):
        A = matrices(replicas=1)
        sparse = scipy.sparse.csr_matrix(A[0].to(dtype).numpy())
        return OperatorCase(lambda: ScipyOperator(sparse), A)


class TestTangent(OperatorContract):
    """The dense reference makes its own basis of the tangent space, by a full QR of x."""

    def point(self):
        return Sphere(N).retract_(vectors(R, N, seed=6)), vectors(R, N, seed=7)

    def build(self, dtype):
        x, g = self.point()
        return TangentOperator(DenseOperator(matrices().to(dtype)), x.to(dtype), g.to(dtype))

    def case(self, dtype):
        x, g = self.point()
        mu = -(x * g).sum(-1) / N
        basis = torch.linalg.qr(x[..., None], mode="complete").Q[:, :, 1:]  # (R, N, N - 1)
        curvature = matrices() + mu[:, None, None] * torch.eye(N)
        # both bases are orthonormal, so lifted unit vectors connect them
        ours = self.build(torch.float64).lift(torch.eye(N - 1).double().expand(R, -1, -1))
        turn = ours @ basis
        torch.testing.assert_close(turn @ turn.mT, torch.eye(N - 1).double().expand(R, -1, -1))
        dense = turn @ (basis.mT @ curvature @ basis) @ turn.mT
        return OperatorCase(lambda: self.build(dtype), dense)


def test_the_multiplier_has_the_sign_of_the_second_derivative_along_a_great_circle():
    """E = b.x + x.Ax/2 on the sphere: d^2E/dt^2 along x cos t + v sin t, v tangent, |v|^2 = N."""
    A, b = matrices(replicas=1)[0], vectors(N)
    x = Sphere(N).retract_(vectors(1, N, seed=8))
    H = TangentOperator(DenseOperator(A), x, x @ A + b)
    y = vectors(1, 1, N - 1, seed=9)
    y = y * math.sqrt(N) / y.norm()
    v = H.lift(y)[0]
    assert abs((v @ x.T).item()) < 1e-12

    def E(t):
        z = x * math.cos(t) + v * math.sin(t)
        return (z @ b + ((z @ A) * z).sum(-1) / 2).item()

    h = 1e-3
    second = (E(h) - 2 * E(0.0) + E(-h)) / h**2
    assert (y * (H @ y)).sum().item() == pytest.approx(second, rel=1e-6)
    assert H.multiplier.item() == pytest.approx(-(x @ (x @ A + b).T).item() / N)


def test_the_projected_spectrum_is_the_tangent_one_and_a_zero():
    x = Sphere(N).retract_(vectors(R, N))
    g = vectors(R, N, seed=4)
    A = DenseOperator(matrices())
    mu = -(x * g).sum(-1) / N
    tangent = torch.linalg.eigvalsh(TangentOperator(A, x, g).dense())
    projected = ProjectedOperator(ShiftedOperator(A, mu), x[:, None]).dense()
    spectrum = torch.cat([tangent, torch.zeros(R, 1)], dim=1).sort(dim=1).values
    torch.testing.assert_close(torch.linalg.eigvalsh(projected), spectrum)


def test_eigenvectors_are_lifted_to_the_configuration():
    A, mask = matrices(), TestSubset.mask
    op = SubsetOperator(DenseOperator(A), mask)
    V = vectors(R, 2, 4)
    lifted = (2.0 * ShiftedOperator(op, 1.0)).lift(V)
    assert torch.equal(lifted[..., mask], V)
    assert not lifted[..., ~mask].any()


def test_products_of_the_parts_are_counted_and_costs_add_up():
    A, B = DenseOperator(matrices()), DenseOperator(matrices(1))
    A.gradient_cost, B.gradient_cost = 1.5, 0.5
    total = A + 3.0 * B
    total @ vectors(R, 4, N)
    assert (total.products, A.products, B.products) == (4, 4, 4)
    assert total.gradient_cost == 2.0
    B.gradient_cost = None
    assert (A + B).gradient_cost is None


def test_scipy_finds_the_eigenvalues_of_each_replica():
    op = DenseOperator(matrices().float())
    for r in range(R):
        linear = as_scipy(op, r)
        assert linear.shape == (N, N)
        assert linear.dtype == "float32"
        found = eigsh(linear, k=2, which="LA", return_eigenvectors=False)
        exact = torch.linalg.eigvalsh(matrices()[r])[-2:]
        torch.testing.assert_close(torch.tensor(found).double(), exact, rtol=1e-5, atol=1e-5)


def test_there_and_back_through_scipy():
    A = matrices(replicas=1)
    back = ScipyOperator(as_scipy(DenseOperator(A)))
    torch.testing.assert_close(back.dense(), A)
    only_matvec = LinearOperator((N, N), matvec=lambda v: A[0].numpy() @ v, dtype="float64")
    torch.testing.assert_close(ScipyOperator(only_matvec).dense(), A)


class Identity(CurvatureOperator):
    def multiply(self, V):
        return V


def test_a_matrix_that_does_not_fit_is_refused_before_it_is_allocated():
    with pytest.raises(UsageError, match="2 dense matrices of this size exceed 8 GiB"):
        Identity(2, 40_000, torch.float32).dense()


def test_a_matrix_is_found_in_chunks(monkeypatch):
    monkeypatch.setattr(operator, "_CHUNK_BYTES", 3 * 7 * 8 * 4)  # four columns of 3 replicas
    op = Identity(3, 7, torch.float64)
    assert torch.equal(op.dense(), torch.eye(7).double().expand(3, -1, -1))
    assert op.products == 7


def test_the_defect_shows_a_matrix_that_is_not_symmetric():
    A = torch.randn(2, 200, 200, dtype=torch.float64)
    assert (DenseOperator(A).symmetry_defect() > 0.01).all()
    assert (DenseOperator(A + A.mT).symmetry_defect() < 1e-13).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda A: A + DenseOperator(torch.eye(2)), "must be of the kind"),
        (lambda A: A * torch.ones(2), r"factor.shape = \(2,\)"),
        (lambda A: ShiftedOperator(A, torch.ones(2)), r"shift.shape = \(2,\)"),
        (lambda A: ProjectedOperator(A, torch.ones(R, N)), "directions.shape"),
        (lambda A: SubsetOperator(A, torch.ones(N)), "mask = torch.float32"),
        (lambda A: SubsetOperator(A, torch.zeros(N, dtype=torch.bool)), "must keep a coordinate"),
        (lambda A: TangentOperator(A, torch.ones(R, N) * 2, torch.ones(R, N)), r"\|x\|\^2 = N"),
        (lambda A: TangentOperator(A, torch.ones(N), torch.ones(R, N)), "x.shape"),
        (lambda A: DenseOperator(torch.ones(3, 2)), "matrices.shape"),
        (lambda A: ScipyOperator(torch.ones(3, 2).numpy()), "linear.shape"),
        (lambda A: ScipyOperator(torch.ones(2, 2).long().numpy()), "float32 or float64"),
        (lambda A: as_scipy(A, 3), "replica = 3: there are 3"),
    ],
)
def test_misuse_is_refused_with_a_sentence(make, sentence):
    with pytest.raises(UsageError, match=sentence):
        make(DenseOperator(matrices()))


def test_the_mean_over_one_process_is_the_operator_itself():
    A = DenseOperator(matrices())
    assert MeanOverRanks(A, samples=3).dense().equal(A.dense())


def _rank(rank, folder, results):
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    samples = (3, 1)[rank]
    mean = MeanOverRanks(DenseOperator(matrices(rank)), samples)
    results.put((rank, mean.dense().numpy().copy()))
    dist.destroy_process_group()


def test_the_mean_over_two_processes(tmp_path):
    context = torch.multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    processes = [context.Process(target=_rank, args=(r, tmp_path, results)) for r in (0, 1)]
    for process in processes:
        process.start()
    found = dict(results.get() for _ in processes)
    for process in processes:
        process.join()
    expected = (3 * matrices(0) + matrices(1)) / 4
    for rank in (0, 1):
        torch.testing.assert_close(torch.as_tensor(found[rank]), expected)


class Fails(DenseOperator):
    def multiply(self, V):
        raise ZeroDivisionError


def test_a_process_whose_product_fails_lets_no_other_wait(monkeypatch):
    """It sends nan into the sum, from which the others know."""
    failing, fine = MeanOverRanks(Fails(torch.eye(2))), MeanOverRanks(DenseOperator(torch.eye(2)))
    sent = []
    monkeypatch.setattr(parallel, "sum", lambda x: sent.append(x) or x)
    with pytest.raises(ZeroDivisionError):
        failing @ torch.ones(1, 2)
    assert len(sent) == 1 and sent[0].isnan().all()
    monkeypatch.setattr(parallel, "sum", lambda x: x + sent[0])
    with pytest.raises(UsageError, match="is not finite in one of the processes"):
        fine @ torch.ones(1, 2)
