"""Diluted p = 3, N = 4000, float32: energy and force against gather and scatter in torch."""

import pytest
import torch

from lightning_landscape.energies import DilutedPSpin

N = 4000


def gather_scatter(x, triplets, J):
    """The torch expression: three gathers and three index_adds; sites first, (N,) or (N, R)."""
    a, b, c = (x[t] for t in triplets)
    F = torch.zeros_like(x)
    for t, u, v in zip(triplets, (b, a, a), (c, c, b), strict=True):
        F.index_add_(0, t, J * u * v)
    return F, -(x * F).sum(0) / 3


@pytest.mark.parametrize(("R", "target"), [(1, 3.0), (16, 10.0), (64, 10.0)])
def test_against_gather_and_scatter(compare, R, target):
    energy = DilutedPSpin(N, connectivity=0.3, replicas=R)
    term = energy.interactions[0]
    triplets = [term.orders.roll(-k, dims=1).flatten().long() for k in term.offsets]
    x, J = energy.configuration().t().contiguous(), term.couplings.flatten()
    # an (N, 1) tensor takes another, ten times slower path of index_add
    x, J = (x[:, 0], J) if R == 1 else (x, J[:, None])

    def ours():
        energy.x.grad = None
        energy().sum().backward()

    ours()
    force = gather_scatter(x, triplets, J)[0].view(N, R)
    torch.testing.assert_close(force.t(), -energy.x.grad, rtol=1e-3, atol=1e-4)
    compare(
        f"diluted p=3, N={N}, R={R}", ours, lambda: gather_scatter(x, triplets, J),
        against="3 gathers + 3 index_add", at_least=target, rounds=5,
    )  # fmt: skip
