"""Benchmarks are ratios: ours and the peer in turn, in one process, the best round of each.

With one thread (``OMP_NUM_THREADS=1``) seconds are those of the processor, which other programs on
the machine disturb least; with more threads, or a GPU, they are those of the wall, and want a quiet
machine. Run them with ``pytest tests/benchmarks --benchmark-only``; a Markdown table of all ratios
is printed at the end. A row below its target fails.
"""

import time

import pytest
import torch

ROWS = []


def seconds(function):
    """CPU time of this process where one thread computes, wall time otherwise."""
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()
    clock = time.process_time if alone else time.perf_counter
    start = clock()
    function()
    return clock() - start


@pytest.fixture
def compare(benchmark):
    """``compare(what, ours, peer, at_least=…)``: how many times faster ours is than the peer.

    With ``at_most`` the ratio is ours / peer instead (a cost that should stay near a limit).
    Rounds of the two are interleaved, so that both see the machine at its best; the ratio of
    their shortest times is what is judged and tabulated. What slows a round down, other programs
    in the cache above all, only ever adds to it.
    """

    def run(what, ours, peer, *, against, at_least=None, at_most=None, rounds=11, assert_=True):
        ours(), peer()
        pairs = [(seconds(ours), seconds(peer)) for _ in range(rounds)]
        own, other = map(min, zip(*pairs, strict=True))
        if at_least is not None:
            ratio, target = other / own, at_least
            met, sign = ratio >= target, ">="
        else:
            ratio, target = own / other, at_most
            met, sign = ratio <= target, "<="
        ROWS.append((what, against, f"{ratio:.2f}", f"{sign} {target}", f"{own * 1e3:.3g} ms"))
        benchmark.extra_info.update(ratio=ratio, target=f"{sign} {target}", against=against)
        if benchmark.stats is None:  # the fixture times one function a test
            benchmark.pedantic(ours, rounds=1)
        if assert_:
            assert met, f"{what} against {against}: {ratio:.2f}, target {sign} {target}"
        return ratio

    return run


@pytest.fixture
def row():
    """``row(what, against, ratio, seconds, at_most=…)`` adds a line to the table."""

    def add(what, against, ratio, took, at_most=None, at_least=None):
        limits = {"<=": at_most, ">=": at_least}
        target = ", ".join(f"{s} {x}" for s, x in limits.items() if x is not None) or "none"
        ROWS.append((what, against, f"{ratio:.2f}", target, f"{took * 1e3:.3g} ms"))
        missed = f"{what}: {ratio:.2f}, target {target}"
        assert at_most is None or ratio <= at_most, missed
        assert at_least is None or ratio >= at_least, missed

    return add


def pytest_terminal_summary(terminalreporter):
    if ROWS:
        terminalreporter.write_line(
            "\n| what | against | ratio | target | ours |\n" + "|---" * 5 + "|"
        )
        for row in ROWS:
            terminalreporter.write_line("| " + " | ".join(row) + " |")
