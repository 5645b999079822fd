"""What a transition state costs in gradients, and how fast it is found beside a loop of SciPy."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lightning_landscape.data import RandomData
from lightning_landscape.energies import (
    FullyConnected,
    LennardJones,
    NetworkEnergy,
    SphericalPSpin,
    WithL2,
)
from lightning_landscape.exploration import (
    Landscape,
    follow,
    hybrid_eigenvector_following,
    quench,
)


@pytest.mark.parametrize(
    ("name", "make", "search", "kick", "at_most"),
    [
        ("LJ7, hybrid", lambda: LennardJones(7, dtype="float64"),
         hybrid_eigenvector_following, 0.4, 300),
        ("p-spin N = 20, follower", lambda: SphericalPSpin(20, seed=1, dtype="float64"),
         follow, 0.5, 260),
    ],
)  # fmt: skip
def test_gradients_per_transition_state(benchmark, name, make, search, kick, at_most):
    landscape = Landscape(make())
    minima = quench(landscape, landscape.starts(0, 0, 50), 0.4).x
    starts = landscape.retract(minima + kick * landscape.starts(1, 0, 50, 0.6))
    landscape.gradients = 0
    end = benchmark.pedantic(search, args=(landscape, starts, landscape.starts(2, 0, 50)), rounds=1)
    spectrum = landscape.spectrum(end.x)
    found = int((end.converged & (spectrum[:, 0] < 0) & (spectrum[:, 1] > 0)).sum())
    spent = landscape.gradients / found
    print(f"{name}: {found} of 50, {spent:.0f} gradients each")
    assert spent <= at_most


def test_quenches_of_networks_against_a_loop_of_scipy(compare):
    """64 networks of 61 parameters, to the same gradient."""
    data = RandomData(100, dimension=4)
    net = FullyConnected([4, 10, 1], "tanh", dtype="float64")
    landscape = Landscape(WithL2(NetworkEnergy(net, data), 1e-2))
    starts = landscape.starts(0, 0, 64)

    def value_and_gradient(x):
        E, g = landscape.value_and_gradient(torch.from_numpy(x)[None])
        return E.item(), g[0].numpy()

    def one_by_one():
        options = {"maxiter": 1000, "maxfun": 2000, "ftol": 0.0, "gtol": 1e-8}
        for x in starts.numpy():
            minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", options=options)

    assert quench(landscape, starts, 1.0, tolerance=np.sqrt(61) * 1e-8).converged.all()
    compare(
        "64 networks of 61 parameters quenched",
        lambda: quench(landscape, starts, 1.0, tolerance=np.sqrt(61) * 1e-8),
        one_by_one,
        against="scipy L-BFGS-B in a loop",
        at_least=3,
        rounds=2,
    )
