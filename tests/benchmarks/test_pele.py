"""Quenches and transition states a second of the processor, beside pele in the same process.

Both start from the same configurations, and both check the index of what they find. A search of
pele can run away, so that each has a limit of processor time, which is charged.
"""

import signal
import time
from contextlib import contextmanager, redirect_stdout
from io import StringIO

import numpy as np
import pytest

from lightning_landscape.energies import LennardJones, SphericalPSpin
from lightning_landscape.exploration import Landscape, eigenvector_following, quench

potentials = pytest.importorskip("pele.potentials", reason="pele is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of code that is not ours


@contextmanager
def at_most(seconds):
    """Raise `TimeoutError` after so many seconds of the processor."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def rate(search, starts, limit):
    """Return how many searches a second succeed, one after the other."""
    found, begun = 0, time.process_time()
    for x in starts:
        try:
            with at_most(limit), redirect_stdout(StringIO()):
                found += bool(search(x.numpy().copy()))
        except (TimeoutError, np.linalg.LinAlgError, RuntimeError, ValueError):
            continue
    return max(found, 1) / (time.process_time() - begun)


@pytest.fixture
def best_of(benchmark):
    """``best_of(rounds, search)`` returns the result of a search and the least seconds it took."""

    def run(rounds, search):
        took = []

        def timed():
            begun = time.process_time()
            end = search()
            took.append(time.process_time() - begun)
            return end

        return benchmark.pedantic(timed, rounds=rounds), min(took)

    return run


def glass():
    """Return a sample of twenty spins, and one of pele's, of the same law up to a factor."""
    from pele.systems import MeanFieldPSpinSphericalSystem

    np.random.seed(0)  # noqa: NPY002 - which its couplings are drawn with
    with redirect_stdout(StringIO()):
        system = MeanFieldPSpinSphericalSystem(20, p=3)
    return Landscape(SphericalPSpin(20, seed=1, dtype="float64")), system


@pytest.mark.parametrize(("atoms", "at_least"), [(7, 6), (8, 8)])
def test_transition_states_of_clusters(row, best_of, atoms, at_least):
    from pele.systems import LJCluster
    from pele.transition_states import findTransitionState

    landscape, number = Landscape(LennardJones(atoms, dtype="float64")), 300
    minima = quench(landscape, landscape.starts(0, 0, number), 0.4).x
    starts = minima + 0.25 * landscape.starts(1, 0, number)
    eigenvector_following(landscape, starts[:2], 0.4)  # compiles
    end, took = best_of(3, lambda: eigenvector_following(landscape, starts, 0.4))
    spectrum = landscape.spectrum(end.x)
    bound = end.energy < float(landscape.value_and_gradient(minima)[0].min()) / 2
    good = end.converged & bound & (spectrum[:, 0] < -1e-4) & (spectrum[:, 1] > 1e-4)

    system, potential = LJCluster(atoms), potentials.LJ()
    orthogonal = system.get_orthogonalize_to_zero_eigenvectors()

    def theirs(x):
        end = findTransitionState(x, potential, orthogZeroEigs=orthogonal)
        return end.success and end.eigenval < 0

    theirs(starts[0].numpy().copy())
    per_second = rate(theirs, starts[:40], limit=2.0)
    ours = int(good.sum()) / took
    row(f"transition states of LJ{atoms} a second: {ours:.0f}", f"pele, {per_second:.1f}",
        ours / per_second, took, at_least=at_least)  # fmt: skip


def test_transition_states_of_a_glass(row, best_of):
    from pele.transition_states import findTransitionState

    landscape, system = glass()
    minima = quench(landscape, landscape.starts(0, 0, 300), 0.4).x
    starts = landscape.retract(minima + 0.6 * landscape.starts(1, 0, 300))
    eigenvector_following(landscape, starts[:2], 0.5)  # compiles
    end, took = best_of(3, lambda: eigenvector_following(landscape, starts, 0.5))
    spectrum = landscape.spectrum(end.x)
    good = end.converged & (spectrum[:, 0] < -1e-4) & (spectrum[:, 1] > 1e-4)

    options = dict(system.params.double_ended_connect.local_connect_params.tsSearchParams)
    orthogonal = options.pop("orthogZeroEigs", system.get_orthogonalize_to_zero_eigenvectors())

    def theirs(x):
        end = findTransitionState(x, system.pot, orthogZeroEigs=orthogonal, **options)
        return end.success and end.eigenval < 0

    per_second = rate(theirs, starts[:6], limit=5.0)
    ours = int(good.sum()) / took
    row(f"transition states of 20 spins a second: {ours:.0f}", f"pele, {per_second:.2f}",
        ours / per_second, took, at_least=300)  # fmt: skip


def test_quenches_of_a_glass(row, best_of):
    from pele.optimize import lbfgs_cpp

    landscape, system = glass()
    starts = landscape.starts(0, 0, 2000)
    quench(landscape, starts[:2])  # compiles
    end, took = best_of(2, lambda: quench(landscape, starts, tolerance=1e-6))
    per_second = rate(
        lambda x: lbfgs_cpp(x, system.pot, tol=1e-6 / 20**0.5).success, starts[:40], limit=2.0
    )
    ours = int(end.converged.sum()) / took
    row(f"quenches of 20 spins a second: {ours:.0f}", f"pele, {per_second:.1f}", ours / per_second,
        took, at_least=40)  # fmt: skip


def test_quenches_of_thirteen_atoms(row, best_of):
    """Its quenches are C++ without a step of Python."""
    from pele.optimize import lbfgs_cpp

    landscape, number = Landscape(LennardJones(13, dtype="float64")), 2000
    starts, potential = landscape.starts(0, 0, number, 1.2), potentials.LJ()
    quench(landscape, starts[:2], 0.4)  # compiles
    end, took = best_of(2, lambda: quench(landscape, starts, 0.4))
    assert end.converged.all()
    per_second = rate(lambda x: lbfgs_cpp(x, potential, tol=1e-8 / 39**0.5).success, starts, 2.0)
    ours = number / took
    row(f"quenches of LJ13 a second: {ours:.0f}", f"pele, {per_second:.0f}", ours / per_second,
        took, at_least=0.3)  # fmt: skip
