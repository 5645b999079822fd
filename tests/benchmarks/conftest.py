"""Benchmarks are ratios: ours and the peer in turn, in one process, median of the ratios.

Run them on a quiet machine with ``pytest tests/benchmarks --benchmark-only``; a Markdown table of
all ratios is printed at the end. A row below its target fails.
"""

import time

import pytest

ROWS = []


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.fixture
def compare(benchmark):
    """``compare(what, ours, peer, at_least=…)``: how many times faster ours is than the peer.

    With ``at_most`` the ratio is ours / peer instead (a cost that should stay near a limit).
    Rounds of the two are interleaved, so that a drift of the machine's speed cancels; the
    median of the paired ratios is what is judged and tabulated.
    """

    def run(what, ours, peer, *, against, at_least=None, at_most=None, rounds=11, assert_=True):
        ours(), peer()
        pairs = [(seconds(ours), seconds(peer)) for _ in range(rounds)]
        if at_least is not None:
            ratio, target = sorted(p / o for o, p in pairs)[rounds // 2], at_least
            met, sign = ratio >= target, ">="
        else:
            ratio, target = sorted(o / p for o, p in pairs)[rounds // 2], at_most
            met, sign = ratio <= target, "<="
        ours_ms = sorted(o for o, _ in pairs)[rounds // 2] * 1e3
        ROWS.append((what, against, f"{ratio:.2f}", f"{sign} {target}", f"{ours_ms:.3g} ms"))
        benchmark.extra_info.update(ratio=ratio, target=f"{sign} {target}", against=against)
        if benchmark.stats is None:  # the fixture times one function a test
            benchmark.pedantic(ours, rounds=1)
        if assert_:
            assert met, f"{what} against {against}: {ratio:.2f}, target {sign} {target}"
        return ratio

    return run


def pytest_terminal_summary(terminalreporter):
    if ROWS:
        terminalreporter.write_line(
            "\n| what | against | ratio | target | ours |\n" + "|---" * 5 + "|"
        )
        for row in ROWS:
            terminalreporter.write_line("| " + " | ".join(row) + " |")
