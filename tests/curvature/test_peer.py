"""PyHessian on any operator: its numbers under the names of our summary, with residuals."""

import pytest
import torch

from lightning_landscape.curvature import Budget, DenseOperator, TangentOperator, spectrum_summary
from lightning_landscape.curvature.pyhessian.package import hessian
from lightning_landscape.curvature.pyhessian.summary import _jacobi, summary_by_pyhessian
from lightning_landscape.rng import Stream

OUTLIERS = [9.0, 7.0, -5.0, 4.0]


@pytest.fixture
def outliers(with_spectrum):
    """Two matrices with four eigenvalues that power iteration finds, and a bulk."""
    bulk = torch.linspace(-0.5, 0.5, 56)
    return torch.stack([with_spectrum([*OUTLIERS, *bulk.tolist()], seed=s) for s in (0, 1)])


def test_what_it_finds_is_sorted_by_ends_and_certified_by_residuals(outliers):
    budget = Budget(k=4, random_vectors=5, steps=15, max_products=200, eigenvectors=True)
    found = summary_by_pyhessian(DenseOperator(outliers), budget)
    for replica in range(2):
        # the stopping rule of power iteration leaves a few per mille
        assert found["highest"][replica, :3].tolist() == pytest.approx([9, 7, 4], rel=1e-2)
        assert found["lowest"][replica, 0].item() == pytest.approx(-5, rel=1e-2)
    assert found["highest"][:, 3].isnan().all() and found["lowest"][:, 1:].isnan().all()
    for end, places in (("highest", 3), ("lowest", 1)):
        theta, Y = found[end][:, :places], found[f"{end}_vector"][:, :places]
        true = torch.linalg.vector_norm(Y @ outliers - theta[..., None] * Y, dim=-1)
        torch.testing.assert_close(found[f"{end}_residual"][:, :places], true)
        assert torch.equal(
            found[f"{end}_converged"][:, :places], true <= 1e-3 * theta.abs() + 1e-13
        )
    assert not found["separated"].any()
    trace = outliers.diagonal(dim1=1, dim2=2).sum(1)
    assert ((found["trace"] - trace).abs() < 4 * found["trace_error"]).all()
    square = outliers.square().sum((1, 2))
    assert ((found["trace_of_square"] - square).abs() < 4 * found["trace_of_square_error"]).all()
    assert (found["negative_lower"] <= 29 / 60).all() and (found["negative_upper"] >= 29 / 60).all()
    assert found["fraction"].sum(1) == pytest.approx(torch.ones(2).double(), abs=1e-5)
    assert found["products"] <= 2 * budget.by_pyhessian


def test_the_numbers_are_those_of_pyhessian_itself(trained):
    """On the module directly, from the same random numbers; float32 products differ by rounding."""
    budget = Budget(k=3, random_vectors=3, steps=10, max_products=150)
    found = summary_by_pyhessian(trained.operator(), budget)
    loss = torch.nn.functional.cross_entropy
    data = (trained.x, trained.y)

    class Flat(torch.nn.Module):
        """The network as a function of one vector, whose random numbers come in one piece."""

        def __init__(self):
            super().__init__()
            self.sizes = {name: p.shape for name, p in trained.net.named_parameters()}
            flat = torch.cat([p.detach().flatten() for p in trained.net.parameters()])
            self.x = torch.nn.Parameter(flat)

        def forward(self, inputs):
            parts = self.x.split([shape.numel() for shape in self.sizes.values()])
            named = zip(self.sizes.items(), parts, strict=True)
            values = {name: part.view(shape) for (name, shape), part in named}
            return torch.func.functional_call(trained.net, values, (inputs,))

    seed = Stream(0, "pyhessian").key(0)
    theirs = hessian(Flat(), loss, data=data, backend="pyhessian", seed=seed)
    values, _ = theirs.eigenvalues(50, 1e-3, 3)
    assert found["highest"][0].tolist() == pytest.approx(sorted(values)[::-1], rel=1e-4)
    samples = torch.tensor(theirs.trace(3))
    assert found["trace"].item() == pytest.approx(samples.mean().item(), rel=1e-4)


def test_the_sphere_is_seen_in_its_tangent_space(goe):
    H, x = goe(30), torch.ones(1, 30, dtype=torch.float64)
    on_sphere = TangentOperator(DenseOperator(H), x, (H @ x[..., None])[..., 0])
    budget = Budget(k=2, random_vectors=4, steps=29, max_products=2000, eigenvectors=True)
    theirs, ours = summary_by_pyhessian(on_sphere, budget), spectrum_summary(on_sphere, budget)
    assert set(theirs) == set(ours) - {"eigenvalues"}
    assert theirs["edges"].diff().std() < 1e-12
    Y = torch.cat([theirs["highest_vector"], theirs["lowest_vector"]], 1)[0]
    found = Y[Y.isfinite().all(1)]
    assert found.shape == (2, 30)  # in the coordinates of the configuration
    torch.testing.assert_close(found @ x[0], torch.zeros(2, dtype=torch.float64))


def test_nodes_and_weights_give_back_the_recursion_they_came_from():
    g = torch.Generator().manual_seed(0)
    alpha = torch.randn(2, 3, 8, generator=g, dtype=torch.float64)
    beta = torch.rand(2, 3, 7, generator=g, dtype=torch.float64) + 0.1
    T = alpha.diag_embed() + beta.diag_embed(1) + beta.diag_embed(-1)
    nodes, vectors = torch.linalg.eigh(T)
    again = _jacobi(nodes, vectors[..., 0, :].square())
    torch.testing.assert_close(again[0], alpha[..., :-1])
    torch.testing.assert_close(again[1], beta)
