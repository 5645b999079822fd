"""Alignment and overlaps, against dense matrices."""

import pytest
import torch

from lightning_landscape.curvature import DenseOperator, hessian_of
from lightning_landscape.data import RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.errors import UsageError
from lightning_landscape.observables import alignment, gradients_of, subspace_overlap


def pair(N=60, copies=1):
    """Two matrices with large common directions and different bulks, and their leading vectors."""
    g = torch.Generator().manual_seed(0)
    Q = torch.linalg.qr(torch.randn(N, N, generator=g, dtype=torch.float64)).Q
    outliers = torch.zeros(N, dtype=torch.float64)
    outliers[:3] = torch.tensor([30.0, 20.0, 10.0])
    bulk = torch.randn(2, N, N, generator=g, dtype=torch.float64)
    A, B = ((Q * outliers) @ Q.T + (x + x.T) / 4 for x in bulk)
    leading = torch.linalg.eigh(A + B).eigenvectors[:, -3:].T
    return [t.expand(copies, -1, -1) for t in (A, B, leading)]


def exact(A, B):
    trace = (A * B).sum((-1, -2))
    return trace, trace / (A.norm(dim=(-1, -2)) * B.norm(dim=(-1, -2)))


def test_estimates_are_unbiased_and_their_errors_calibrated():
    """300 copies are 300 estimates: mean and claimed error, each within 4 standard errors."""
    A, B, leading = pair(copies=300)
    found = alignment(DenseOperator(A), DenseOperator(B), leading, random_vectors=12)
    trace, cosine = (value[0] for value in exact(A, B))
    for value, error, truth in (
        (found.trace, found.trace_error, trace),
        (found.cosine, found.cosine_error, cosine),
    ):
        scatter = value.std()
        assert abs(value.mean() - truth) < 4 * scatter / 300**0.5
        assert abs(error.square().mean().sqrt() / scatter - 1) < 4 / 600**0.5
    assert found.cosine_error.mean() < 0.1 * cosine


def test_it_is_exact_where_the_probes_would_span_the_space():
    A, B, leading = pair()
    found = alignment(DenseOperator(A), DenseOperator(B), leading, random_vectors=57)
    trace, cosine = exact(A, B)
    torch.testing.assert_close(found.trace, trace, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.cosine, cosine, rtol=1e-12, atol=0)
    assert not found.trace_error.any() and not found.cosine_error.any()


def test_noise_and_curvature_of_a_network():
    """The operators of a small network against their dense matrices, within 4 errors of each."""
    net = FullyConnected([6, 8, 3], "tanh", replicas=4, dtype="float64")
    energy = NetworkEnergy(net, RandomData(50, 6, classes=3))
    C, H = gradients_of(energy).covariance(), hessian_of(energy)
    dense = C.dense(), H.dense()
    leading = torch.linalg.eigh(dense[0]).eigenvectors[..., -5:].mT
    found = alignment(C, H, leading, random_vectors=20)
    trace, cosine = exact(*dense)
    assert (cosine > 0.1).all()
    assert ((found.trace - trace).abs() < 4 * found.trace_error).all()
    assert ((found.cosine - cosine).abs() < 4 * found.cosine_error).all()


def test_overlap_of_subspaces():
    """Of rotated planes it is cos^2, of random spaces j/N, and any basis of a space will do."""
    eye, angle = torch.eye(4, dtype=torch.float64), torch.tensor(0.3)
    u = eye[None, :2]
    v = torch.stack([eye[0] * angle.cos() + eye[2] * angle.sin(), eye[1]])[None]
    expected = [[angle.cos() ** 2, (angle.cos() ** 2 + 1) / 2]]
    torch.testing.assert_close(subspace_overlap(u, v), torch.tensor(expected).double())
    turned = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q @ u
    assert subspace_overlap(u, turned)[0, 1] == pytest.approx(1)
    X, Y = torch.linalg.qr(torch.randn(2, 400, 40, 5)).Q.mT
    overlaps = subspace_overlap(X, Y)
    error = overlaps.std(0) / 20
    assert ((overlaps.mean(0) - torch.arange(1, 6) / 40).abs() < 4 * error).all()


def test_impossible_requests_are_refused():
    A, B, leading = pair()
    with pytest.raises(UsageError, match="random_vectors = 1"):
        alignment(DenseOperator(A), DenseOperator(B), leading, random_vectors=1)
    with pytest.raises(UsageError, match="B = "):
        alignment(DenseOperator(A), DenseOperator(B[:, :5, :5]), leading)
