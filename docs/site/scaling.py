"""Measures how the cost of a step grows with the system; draws docs/scaling.png and its table.

    OMP_NUM_THREADS=1 python docs/site/scaling.py

A step is a gradient of all replicas and a `Langevin` step. Seconds are those of the processor, of
one thread, the least of some repetitions. The slope is that of the last factor of ten or so, where
the fixed price of a step, some 0.2 ms, no longer shows. The table is written into
docs/benchmarks.md between the two marks. It takes two minutes and 3 GB of memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch

from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import DilutedPSpin, FullyConnected, NetworkEnergy, SphericalPSpin
from lightning_landscape.energies.energy import Energy

DOCS = Path(__file__).parents[1]
MARKS = "<!-- scaling: begin -->", "<!-- scaling: end -->"
SECONDS = 0.3  # of repetitions a point, at least three


class Curve(NamedTuple):
    """Systems of growing size, and the power with which the cost should grow in the end."""

    panel: str
    label: str
    sizes: list[int]
    system: Callable[[int], Energy]
    expected: float


def network(widths: list[int], samples: int, replicas: int = 1) -> Energy:
    """Networks on random data."""
    data = RandomData(samples, widths[0])
    return NetworkEnergy(FullyConnected(widths, replicas=replicas), data, "quadratic_hinge")


def deep(parameters: int) -> Energy:
    """Two hidden layers of equal width, 100 samples in 10 dimensions: w^2 + 13 w + 1 weights."""
    width = round(math.sqrt(parameters + 41) - 6.5)
    return network([10, width, width, 1], samples=100)


CURVES = [
    Curve("spins N", "p = 3, all couplings", [64, 128, 256, 512, 1024], SphericalPSpin, 3),
    Curve(
        "spins N",
        "p = 3, N²/2 couplings, 16 replicas",
        [256, 1024, 4096],
        lambda N: DilutedPSpin(N, replicas=16),
        2,
    ),
    Curve(
        "replicas R",
        "glass, p = 3, N = 256",
        [1, 4, 16, 64, 256],
        lambda R: SphericalPSpin(256, replicas=R),
        1,
    ),
    Curve(
        "replicas R",
        "network 10-30-30-30-1, P = 100",
        [1, 4, 16, 64, 256],
        lambda R: network([10, 30, 30, 30, 1], 100, R),
        1,
    ),
    Curve("parameters", "2 hidden layers, P = 100", [10**k for k in range(3, 8)], deep, 1),
    Curve(
        "samples P",
        "network 10-30-30-30-1",
        [10**k for k in range(2, 6)],
        lambda P: network([10, 30, 30, 30, 1], P),
        1,
    ),
]


def seconds_of_a_step(energy: Energy) -> float:
    """Return the least CPU time of a step."""
    parameters = list(energy.parameters())
    dynamics = Langevin(parameters, lr=1e-6, temperature=1e-3)
    dynamics.constraint = energy.constraint

    def step() -> None:
        dynamics.zero_grad()
        energy().sum().backward()
        dynamics.step()

    step()
    return min(repeated(step))


def repeated(function: Callable[[], None]) -> Iterator[float]:
    """Yield how long the function takes, again and again."""
    begin, count = time.process_time(), 0
    while count < 3 or time.process_time() - begin < SECONDS:
        start = time.process_time()
        function()
        yield time.process_time() - start
        count += 1


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Return the power between the largest size and the one before it."""
    return math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def table(measured: list[tuple[Curve, list[float]]]) -> str:
    """Return the table in Markdown."""
    columns = "what grows", "system", "cost of a step", "slope at the end", "expected"
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for curve, seconds in measured:
        pairs = zip(curve.sizes, seconds, strict=True)
        costs = ", ".join(f"{text(n)}: {duration(s)}" for n, s in pairs)
        power = slope(curve.sizes, seconds)
        lines.append(
            f"| {curve.panel} | {curve.label} | {costs} | {power:.2f} | {curve.expected} |"
        )
    return "\n".join(lines)


def text(number: int) -> str:
    """Return a number, as a power of ten where it is one."""
    power = round(math.log10(number))
    return f"{number}" if number < 1000 or 10**power != number else f"10{'⁰¹²³⁴⁵⁶⁷⁸⁹'[power]}"


def duration(seconds: float) -> str:
    """Return seconds with their unit."""
    milliseconds = float(f"{seconds * 1e3:.2g}")
    return f"{seconds:.2g} s" if milliseconds >= 1000 else f"{milliseconds:g} ms"


def draw(measured: list[tuple[Curve, list[float]]]) -> None:
    """Draw a panel for each thing that grows, with lines of the expected slope."""
    panels = list(dict.fromkeys(curve.panel for curve in CURVES))
    figure, axes = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3.2), sharey=True)
    for ax, panel in zip(axes, panels, strict=True):
        own = [(curve, seconds) for curve, seconds in measured if curve.panel == panel]
        for k, (curve, seconds) in enumerate(own):
            n = curve.sizes
            ax.loglog(n, seconds, "o-", color=f"C{k}", label=curve.label)
            line = [seconds[-1] * (m / n[-1]) ** curve.expected for m in n]
            ax.loglog(n, line, ":", color=f"C{k}", label=f"slope {curve.expected}")
        ax.set_xlabel(panel)
        ax.legend(fontsize=7, loc="upper left")
        ax.set_ylim(5e-5, 50)
    axes[0].set_ylabel("CPU seconds a step")
    figure.tight_layout()
    figure.savefig(DOCS / "scaling.png", dpi=110)


def main() -> None:
    """Measure, draw and write."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measured = []
    for curve in CURVES:
        measured.append((curve, [seconds_of_a_step(curve.system(n)) for n in curve.sizes]))
        print(curve.label, measured[-1][1], flush=True)
    draw(measured)
    page = DOCS / "benchmarks.md"
    before, rest = page.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n{table(measured)}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
