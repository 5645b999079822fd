"""What a transition state costs in gradients, and how fast it is found beside a loop of SciPy."""

import time

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
    descend_squared_gradient,
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


def seconds(function):
    begun = time.process_time()
    function()
    return time.process_time() - begun


def small_networks():
    data = RandomData(100, dimension=4)
    net = FullyConnected([4, 10, 1], "tanh", dtype="float64")
    landscape = Landscape(WithL2(NetworkEnergy(net, data), 1e-2))
    return landscape, landscape.starts(0, 0, 64)


def test_quenches_of_networks_against_a_loop_of_scipy(row, benchmark):
    """64 networks of 61 parameters, to the same gradient, against eight of them; a network."""
    landscape, starts = small_networks()

    def value_and_gradient(x):
        E, g = landscape.value_and_gradient(torch.from_numpy(x)[None])
        return E.item(), g[0].numpy()

    def together():
        end = quench(landscape, starts, 1.0, tolerance=np.sqrt(61) * 1e-8)
        assert end.converged.all()

    def one_by_one():
        options = {"maxiter": 1000, "maxfun": 2000, "ftol": 0.0, "gtol": 1e-8}
        for x in starts[:8].numpy():
            minimize(value_and_gradient, x, jac=True, method="L-BFGS-B", options=options)

    benchmark.pedantic(together, rounds=1)
    ours, theirs = (min(seconds(f) for _ in range(2)) for f in (together, one_by_one))
    ratio = (theirs / 8) / (ours / 64)
    row("64 networks of 61 parameters quenched", "scipy L-BFGS-B in a loop", ratio, ours,
        at_least=3)  # fmt: skip


def test_quenches_of_networks_against_a_loop_of_torch(benchmark):
    """The same 64 networks against one `torch.optim.LBFGS` for each of eight; seconds a network."""
    landscape, starts = small_networks()
    times = {"ours": [], "torch": []}

    def together():
        begun = time.process_time()
        quench(landscape, starts, 1.0, tolerance=np.sqrt(61) * 1e-8)
        times["ours"].append((time.process_time() - begun) / len(starts))

    def one_by_one(some):
        begun = time.process_time()
        for start in some:
            x = start.clone().requires_grad_()
            options = {"max_iter": 1000, "tolerance_grad": 1e-8, "tolerance_change": 0.0}
            optimizer = torch.optim.LBFGS([x], line_search_fn="strong_wolfe", **options)

            def closure(x=x):
                E, g = landscape.value_and_gradient(x.detach()[None])
                x.grad = g[0]
                return E[0]

            optimizer.step(closure)
        times["torch"].append((time.process_time() - begun) / len(some))

    together()
    benchmark.pedantic(together, rounds=3)
    for some in starts.split(8)[:3]:
        one_by_one(some)
    ratio = min(times["torch"]) / min(times["ours"])
    print(
        f"64 networks of 61 parameters: {ratio:.1f} times faster than torch.optim.LBFGS in a loop"
    )
    assert ratio >= 5


def test_gradients_per_true_saddle(benchmark):
    """Sixty spins, all starts charged."""
    landscape = Landscape(SphericalPSpin(60, seed=1, dtype="float64"))
    x = landscape.starts(0, 0, 32)
    for _ in range(40):
        x = landscape.retract(x - 0.02 * landscape.value_and_gradient(x)[1])
    end = benchmark.pedantic(descend_squared_gradient, args=(landscape, x), rounds=1)
    spent = int(end.gradients.sum()) / int(end.converged.sum())
    print(f"{int(end.converged.sum())} of 32, {spent:.0f} gradients each")
    assert spent <= 1300
