import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from lightning_landscape.observables.accumulators.autocorrelation import Blocking


def autoregression(phi, steps, series, seed=0):
    """Stationary AR(1) of variance 1, (steps, series); its tau is (1 + phi)/(1 - phi)."""
    rng = np.random.default_rng(seed)
    kicks = rng.normal(size=(steps, series)) * (1 - phi**2) ** 0.5
    start = phi * rng.normal(size=(1, series))
    return torch.from_numpy(lfilter([1], [1, -phi], kicks, axis=0, zi=start)[0])


def blocked(x, portion=1000):
    series = Blocking(x.shape[1:])
    for part in x.split(portion):
        series.update(part)
    return series


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.98, -0.4])
def test_autocorrelation_time_of_an_autoregression(phi):
    """The mean over 200 series, within 4 standard errors and the 7 % bias of short blocks."""
    exact = (1 + phi) / (1 - phi)
    tau, error = blocked(autoregression(phi, 2**15, 200)).tau()
    assert abs(tau.mean() - exact) < 0.07 * exact + 4 * tau.std() / 200**0.5
    assert tau.std() == pytest.approx(error.mean().item(), rel=0.35)


def test_variances_of_block_means_are_exact():
    """At every level those of NumPy, whatever the portions."""
    x = torch.randn(1001, 2, dtype=torch.float64)
    for portion in (1, 7, 1001):
        times = blocked(x, portion).level_times()
        assert len(times) == 9
        for k in range(9):
            B = 2**k
            means = x[: len(x) // B * B].unflatten(0, (-1, B)).mean(1)
            expected = B * means.var(0) / x.var(0)
            assert times[k].numpy() == pytest.approx(expected.numpy(), rel=1e-10)


def test_a_state_goes_on_where_it_was():
    x = torch.randn(999, 1, dtype=torch.float64)
    series = blocked(x[:333], 111)
    again = Blocking((1,), state=series.metric_state)
    for part in x[333:].split(111):
        again.update(part)
    whole = blocked(x, 111).metric_state
    assert all(torch.equal(v, again.metric_state[k]) for k, v in whole.items())


def test_fewer_than_six_samples_have_no_time():
    for n in (0, 1, 5):
        series = Blocking((2,))
        series.update(torch.randn(n, 2))
        assert series.error().isnan().all()
        assert series.tau()[0].isnan().all() and series.is_lower_bound().all()


@pytest.mark.parametrize("phi", [0.5, 0.8])
@pytest.mark.parametrize("length", [25, 100, 1000])
def test_errors_of_short_series_cover(phi, length):
    """Two errors hold the known tau, and the mean, in close to 95 % of series of so many tau."""
    tau = (1 + phi) / (1 - phi)
    x = autoregression(phi, round(length * tau), 1000, seed=length)
    series = blocked(x, len(x))
    found, error = series.tau()
    assert not found.isnan().any() and not error.isnan().any()
    assert 0.89 < ((found - tau).abs() < 2 * error).double().mean() < 0.98
    exact = (tau / len(x)) ** 0.5
    assert series.error().mean() == pytest.approx(exact, rel=0.2 if length < 1000 else 0.05)
    within = [(x.mean(0).abs() < k * series.error()).double().mean().item() for k in (1, 2)]
    assert 0.63 < within[0] < 0.75
    assert 0.915 < within[1] < 0.97


def test_a_short_series_gives_a_lower_bound_and_says_so():
    """On average it is too small there, by 15 to 20 % at 25 tau; a long series has no such flag."""
    short, long = (blocked(autoregression(0.9, 19 * n, 1000), 19 * n) for n in (25, 200))
    assert 0.3 < short.is_lower_bound().double().mean() < 0.6
    assert not long.is_lower_bound().any()
    assert 0.75 < short.tau()[0].mean() / 19 < 0.9
    least = blocked(autoregression(0.999, 500, 50), 500)  # a quarter of tau
    assert least.is_lower_bound().double().mean() > 0.9
    assert (least.tau()[0] < 1999).all()


def test_two_stretches_merge_as_one_series_where_blocks_fit():
    """Lengths of powers of two leave nothing unpaired but at the top, where one has no pair."""
    x = torch.randn(4096, 3, generator=torch.Generator().manual_seed(0)).cumsum(0)
    whole, first, second = Blocking((3,)), Blocking((3,)), Blocking((3,))
    for series, values in ((whole, x), (first, x[:2048]), (second, x[2048:])):
        series.update(values)
    first.merge_state(second)
    n, mean, M2 = first.moments
    expected = whole.moments[:, :12]  # the block of 4096 would reach over both
    assert torch.stack([n, mean, M2])[:, :12].allclose(expected, rtol=1e-12)
    assert n[:, 0].tolist() == [4096 // 2**k for k in range(12)] + [0] * (len(n) - 12)
    assert first.tau()[0].allclose(whole.tau()[0], equal_nan=True)


def test_merging_with_nothing_changes_nothing():
    series, before = Blocking((1,)), Blocking((1,))
    for one in (series, before):
        one.update(torch.arange(10.0)[:, None])
    series.merge_state(Blocking((1,)))
    assert series.moments.equal(before.moments)
    empty = Blocking((1,))
    empty.merge_state(before)
    assert empty.moments.allclose(before.moments)
