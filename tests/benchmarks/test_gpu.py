"""One GPU against its own limits: bytes over bandwidth, operations over their peak rate.

    python -m pytest tests/benchmarks -m gpu --benchmark-only

A row gives the time of a step over the least that bandwidth and arithmetic allow, in single
precision without TF32, of steps as `LandscapeModule` does them: replayed as a CUDA graph, where
the step can be recorded. Its name says how many kernels a step is, how often it waits for the
device when its kernels are started one by one, and how long it takes then. The limits are those of
an H100 SXM; on another card only the ratios between rows mean anything. All cases together take
two minutes. Without a GPU they run at a small size, so that they stay correct.
"""

import itertools
import time
import warnings
from functools import cache, partial

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from lightning_landscape.curvature.operators.of_energy import hessian_of
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy, SphericalPSpin
from lightning_landscape.modules.recorded import RecordedSteps

BANDWIDTH, PEAK = 3.35e12, 67e12  # bytes and operations a second
ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


BLOCK = 100  # steps, as by default


def stepper(energy, **options):
    """A step, and a block of steps as the module does them."""
    dynamics = Langevin(energy.parameters(), constraint=energy.constraint, **options)

    def step(batch=None):
        dynamics.zero_grad()
        E = energy()
        E.sum().backward()
        dynamics.step()
        return E.detach()

    if not dynamics.param_groups[0]["params"][0].is_cuda:
        return step, None
    recorded = RecordedSteps(step, energy, dynamics, BLOCK)
    return step, lambda: recorded(range(BLOCK), None, lambda: False)


@cache
def couplings(N):
    """The largest case: the others share its couplings."""
    glass = SphericalPSpin(N=N, p=3, replicas=256).to("cuda")
    glass()
    return glass


def dense(device, N, R):
    """The 3-spin glass: reads the matrices once, two operations a coupling and replica."""
    if device == "cuda":
        energy = couplings(N).only(torch.arange(R))
    else:
        energy = SphericalPSpin(N=N, p=3, replicas=R)
    least = max(4 * N**3 / 3 / BANDWIDTH, 2 * R * N**3 / 3 / PEAK)
    return *stepper(energy, lr=0.02, temperature=0.3), least


class Slope(nn.Module):
    """Parameters whose gradient is there."""

    def __init__(self, n, device):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(1, n, device=device))
        self.x.grad = torch.ones_like(self.x)


def langevin(device, n, T):
    """One step without an energy: reads x and the gradient, writes x."""
    slope = Slope(n, device)
    dynamics = Langevin(slope.parameters(), lr=0.1, temperature=T)

    def step(batch=None):
        dynamics.step()
        return slope.x.detach()[:, 0]

    least = 12 * n / BANDWIDTH
    if device == "cpu":
        return step, None, least
    recorded = RecordedSteps(step, slope, dynamics, BLOCK)
    return step, lambda: recorded(range(BLOCK), None, lambda: False), least


def networks(device, R, widths, P):
    data = RandomData(samples=P, dimension=widths[0])
    energy = NetworkEnergy(FullyConnected(widths, replicas=R), data, "quadratic_hinge").to(device)
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    return *stepper(energy, lr=0.1, temperature=1e-4), 6 * R * P * weights / PEAK


def products(device, widths, P, k):
    """k products with the Hessian at once."""
    data = RandomData(samples=P, dimension=widths[0])
    energy = NetworkEnergy(FullyConnected(widths), data, "quadratic_hinge").to(device)
    H = hessian_of(energy)
    v = torch.randn(1, k, energy.N, device=device)
    return lambda: H @ v, None, 12 * k * energy.N * P / PEAK


CASES = {
    **{
        f"dense p = 3, N = {N}, R = {R}": partial(dense, N=N, R=R)
        for N in (256, 512, 1024, 1400)
        for R in (1, 16, 64, 256)
    },
    **{
        f"Langevin, {n} parameters, T {kind}": partial(langevin, n=n, T=T)
        for n in (300_000, 10_000_000)
        for kind, T in (("a number", 0.1), ("of each replica", [0.1]))
    },
    **{
        f"{R} networks {widths}": partial(networks, R=R, widths=widths, P=2000)
        for R in (64, 256, 1024)
        for widths in ([64, 30, 30, 1], [64, 100, 100, 100, 1])
    },
    **{
        f"{k} products with a Hessian": partial(products, widths=[64, 500, 500, 1], P=2000, k=k)
        for k in (1, 8)
    },
}
SMALL = {
    "dense": partial(dense, N=32, R=4),
    "Langevin": partial(langevin, n=3000, T=[0.1]),
    "networks": partial(networks, R=4, widths=[8, 5, 1], P=20),
    "products": partial(products, widths=[8, 5, 1], P=20, k=2),
}


def kernels(step):
    """How many kernels and copies a step starts."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        step()
        torch.cuda.synchronize()
    return sum(event.device_type.name == "CUDA" for event in seen.events())


def waits(step):
    """How often a step waits for the device."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return len([w for w in seen if "called a synchronizing" in str(w.message)])


def seconds(step, warm=3, least=0.15):
    """The mean time of a step, over at least ``least`` seconds after some that do not count."""
    for _ in range(warm):
        step()
    torch.cuda.synchronize()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < least:
        step()
        torch.cuda.synchronize()
        steps += 1
    return (time.perf_counter() - start) / steps


@pytest.mark.parametrize("name", [pytest.param(name, marks=ON_GPU) for name in CASES])
def test_a_step_against_the_limit_of_the_card(name, row, benchmark):
    step, block, least = CASES[name]("cuda")
    several = 5
    started = seconds(lambda: [step() for _ in range(several)], warm=1) / several
    took = started if block is None else seconds(block, warm=1) / BLOCK
    count, stopped = kernels(step), waits(step)
    card = torch.cuda.get_device_name()
    what = f"{name}: {count} kernels, {stopped} waits, {started * 1e3:.3g} ms if started"
    row(what, card, took / least, took)
    extra = {"ratio": took / least, "kernels": count, "waits": stopped, "started": started}
    benchmark.extra_info.update(extra, card=card)
    benchmark.pedantic(step, rounds=1)
    assert stopped == 0


@pytest.mark.parametrize("name", SMALL)
def test_the_cases_run_without_a_gpu(name, benchmark):
    step, _, least = SMALL[name]("cpu")
    benchmark.pedantic(step, rounds=1)
    assert least > 0
