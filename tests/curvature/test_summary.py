import pytest
import torch

from lightning_landscape.curvature import (
    CurvatureOperator,
    DenseOperator,
    ScipyOperator,
    TangentOperator,
)
from lightning_landscape.curvature.summary import Budget, spectrum_summary
from lightning_landscape.errors import UsageError

ESTIMATE = Budget(k=3, random_vectors=10, steps=30, max_products=200, dense_up_to=0)


class Products(CurvatureOperator):
    """Matrices that are known through products only."""

    def __init__(self, H):
        super().__init__(*H.shape[:2], H.dtype)
        self.H = H

    def multiply(self, V):
        return V @ self.H


def test_estimates_of_several_replicas_agree_with_the_matrices(goe):
    """Traces within 4.5 standard errors of 10 random vectors, the index within its bounds."""
    H = goe(600, replicas=4)
    exact = torch.linalg.eigvalsh(H)
    found = spectrum_summary(Products(H), ESTIMATE)
    assert "eigenvalues" not in found
    assert found["highest_converged"].all() and found["lowest_converged"].all()
    assert found["highest"].numpy() == pytest.approx(exact.flip(1)[:, :3].numpy(), rel=1e-3)
    assert found["lowest"].numpy() == pytest.approx(exact[:, :3].numpy(), rel=1e-3)
    for name, power in (("trace", 1), ("trace_of_square", 2)):
        deviation = found[name] - exact.pow(power).sum(1)
        assert (deviation.abs() < 4.5 * found[f"{name}_error"]).all()
    negative = (exact < found["zero"]).double().mean(1)
    assert (found["negative_lower"] <= negative).all()
    assert (negative <= found["negative_upper"]).all()
    assert (found["negative_upper"] - found["negative_lower"] < 0.2).all()
    assert found["fraction"].sum(1) == pytest.approx(torch.ones(4).double())
    assert found["products"] <= ESTIMATE.estimate


@pytest.mark.parametrize("copies", [2, 3])
def test_a_double_eigenvalue_is_found_and_a_third_copy_is_missed_and_said_to_be(
    copies, with_spectrum
):
    """Every residual is small; only random vectors, orthogonal to what was found, can know."""
    values = [*[3.0] * copies, 2.5, 2.0, *torch.linspace(-1, 1, 200).tolist(), -2.0, -2.5, -3.0]
    H = with_spectrum(values)[None]
    found = spectrum_summary(Products(H), Budget(3, 5, 20, 100, dense_up_to=0))
    assert found["highest_converged"].all() and found["lowest_converged"].all()
    assert found["lowest"][0].tolist() == pytest.approx([-3, -2.5, -2], rel=1e-3)
    third = 2.5 if copies == 2 else 3
    right = found["highest"][0].tolist() == pytest.approx([3, 3, third], rel=1e-3)
    assert right == (copies == 2)
    assert found["separated"].item() == right


def test_what_is_cheap_is_exact_and_only_then(goe):
    H = goe(50)
    assert set(spectrum_summary(Products(H), ESTIMATE)) == set(
        spectrum_summary(DenseOperator(H), ESTIMATE)
    )
    assert (
        spectrum_summary(Products(H), ESTIMATE)["products"] == 50
    )  # fewer than the estimate's 500
    assert spectrum_summary(Products(H), ESTIMATE)["trace_error"] == 0


def test_between_the_two_both_are_there(goe):
    H = goe(600)
    found = spectrum_summary(Products(H), Budget(k=3, random_vectors=4, steps=20, max_products=150))
    assert found["products"] == 600  # the estimates work on the matrix, once it is there
    assert found["eigenvalues"][0].numpy() == pytest.approx(torch.linalg.eigvalsh(H[0]).numpy())
    assert found["trace_error"] > 0
    assert found["highest"][0, 0].item() == pytest.approx(found["eigenvalues"].max().item(), 1e-4)


def test_fewer_eigenvalues_than_asked_for_leave_gaps():
    found = spectrum_summary(DenseOperator(torch.diag(torch.tensor([1.0, 2.0]))), Budget(k=3))
    assert found["highest"][0, :2].tolist() == [2, 1]
    assert found["highest"][0, 2].isnan() and not found["highest_converged"][0, 2]


def test_bins_are_linear_on_the_sphere_and_logarithmic_elsewhere(goe):
    H, x = goe(20), torch.ones(1, 20, dtype=torch.float64)
    on_sphere = TangentOperator(DenseOperator(H), x, (H @ x[..., None])[..., 0])
    assert spectrum_summary(on_sphere, Budget())["edges"].diff().std() < 1e-12
    assert spectrum_summary(DenseOperator(H), Budget())["edges"].diff().std() > 0.01
    assert spectrum_summary(on_sphere, Budget())["eigenvalues"].shape == (1, 19)


def test_a_flat_landscape_has_a_spectrum_too():
    found = spectrum_summary(DenseOperator(torch.zeros(2, 5, 5)), Budget(k=1))
    assert found["fraction"].sum(1).tolist() == [1, 1]
    assert found["negative"].tolist() == [0, 0]


def test_a_scipy_matrix_with_parts(with_spectrum):
    H = with_spectrum([1.0, 2.0, 4.0])
    found = spectrum_summary(
        ScipyOperator(H.numpy()), Budget(k=1), {"first": slice(0, 1), "rest": slice(1, 3)}
    )
    assert found["part_trace"][0].tolist() == pytest.approx(
        [H[0, 0].item(), (H[1, 1] + H[2, 2]).item()]
    )


@pytest.mark.parametrize(
    ("argument", "value"), [("k", 0), ("random_vectors", 1), ("dense_up_to", -1)]
)
def test_arguments_out_of_range_are_refused(argument, value):
    with pytest.raises(UsageError, match=f"{argument} = {value}"):
        Budget(**{argument: value})
