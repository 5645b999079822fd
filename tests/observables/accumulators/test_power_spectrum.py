import numpy as np
import pytest
import torch
from scipy.signal import lfilter, welch

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.accumulators.histogram import GrowingHistogram
from lightning_landscape.observables.accumulators.power_spectrum import PowerSpectrum


def lorentzians(steps, series, seed=0):
    """A sum of two autoregressions, (steps, series), and its exact one-sided spectrum."""
    rng, total, parts = np.random.default_rng(seed), 0, ((0.9, 1.0), (0.3, 0.25))
    for phi, variance in parts:
        scale = (variance * (1 - phi**2)) ** 0.5
        start = phi * variance**0.5 * rng.normal(size=(1, series))
        kicks = scale * rng.normal(size=(steps, series))
        total = total + lfilter([1], [1, -phi], kicks, axis=0, zi=start)[0]

    def exact(f):
        return sum(
            2 * v * (1 - p**2) / (1 - 2 * p * np.cos(2 * np.pi * f) + p**2) for p, v in parts
        )

    return torch.from_numpy(total), exact


def spectrum_of(x, segment, portion=100):
    spectrum = PowerSpectrum(x.shape[1:], segment)
    for part in x.split(portion):
        spectrum.update(part)
    return spectrum


@pytest.mark.parametrize("portion", [1, 64, 5000])
def test_is_the_method_of_welch(portion):
    x, _ = lorentzians(1000, 2)
    f, expected = welch(x.numpy(), fs=1 / 0.1, nperseg=128, axis=0)
    spectrum = spectrum_of(x, 128, portion)
    assert spectrum.frequencies(0.1).numpy() == pytest.approx(f)
    assert spectrum.density(0.1)[0].numpy() == pytest.approx(expected, rel=1e-10)


def test_a_sum_of_lorentzians():
    """All but the lowest two frequencies within 4.5 errors of 40 series; the errors are right."""
    x, exact = lorentzians(20_000, 40)
    density, error = (v.numpy()[2:-1] for v in spectrum_of(x, 512).density())
    f = np.arange(2, 256) / 512
    mean, scatter = density.mean(1), density.std(1, ddof=1) / 40**0.5
    assert (abs(mean - exact(f)) < 4.5 * scatter).mean() == 1
    # a wrong factor or a shift by a bin would be far outside
    assert abs((mean / exact(f)).mean() - 1) < 0.01
    assert (error.mean() / (scatter * 40**0.5).mean()) == pytest.approx(1, abs=0.05)


def test_the_integral_is_the_variance():
    x, _ = lorentzians(100_000, 1, seed=3)
    spectrum = spectrum_of(x, 2048)
    area = spectrum.density(0.5)[0].sum() * spectrum.frequencies(0.5)[1]
    assert area.item() == pytest.approx(1.25, rel=0.05)


def test_short_series_have_no_spectrum_and_odd_segments_are_refused():
    assert spectrum_of(torch.randn(100, 2), 128).density()[0].isnan().all()
    with pytest.raises(UsageError, match="segment = 5: must be even"):
        PowerSpectrum((1,), segment=5)


def test_a_growing_histogram_loses_nothing():
    """Counts are those of NumPy on the final edges, when the range grows both ways."""
    rng, histogram, seen = np.random.default_rng(0), GrowingHistogram(3, bins=64), []
    for scale in (1e-3, 0.1, 1, -5, 30):
        x = rng.normal(scale, abs(scale), size=(50, 3))
        seen.append(x)
        histogram.update(torch.from_numpy(x))
    x, edges = np.concatenate(seen), histogram.edges().numpy()
    for r in range(3):
        expected = np.histogram(x[:, r], edges)[0]
        assert histogram.counts[:, r].tolist() == expected.tolist()
    assert histogram.counts.sum() == x.size
    assert np.ptp(x) > 0.2 * np.ptp(edges)  # the range is not wasted


def test_a_histogram_of_equal_values():
    histogram = GrowingHistogram(1, bins=4)
    histogram.update(torch.zeros(5, 1))
    histogram.update(torch.tensor([[1e-12]]))
    assert histogram.counts.sum() == 6


def test_spectra_merge_as_their_segments():
    """Mean and scatter are those of all segments, in which order they came."""
    x = torch.randn(3, 64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = []
    for stretch in (x[0], x[1], torch.cat([x[2], x[0][:5]])):  # the last five are unfinished
        parts.append(PowerSpectrum((2,), segment=16))
        parts[-1].update(stretch)
    single = []
    for stretch in x:
        for start in range(0, 64 - 15, 8):
            one = PowerSpectrum((2,), segment=16)
            one.update(stretch[start : start + 16])
            single.append(one.density()[0])
    total, *others = parts
    for part in [*others, PowerSpectrum((2,), segment=16)]:
        total.merge_state(part)
    power, error = total.density()
    assert int(total.segments) == 21
    assert power.allclose(torch.stack(single).mean(0), rtol=1e-12)
    scatter = torch.stack(single).std(0)
    assert error.allclose(scatter * (38 / 36 / 21) ** 0.5, rtol=1e-12)
    with pytest.raises(UsageError, match=r"state\['tail'\]\.shape = \(8, 2\): must be \(16, 2\)"):
        total.merge_state(PowerSpectrum((2,), segment=8))


def test_histograms_merge_without_losing_a_count():
    """No value is off by more than a bin and a half, as in the cumulated counts."""
    rng, histograms, seen = np.random.default_rng(1), [], []
    for centre, width in ((0.0, 1.0), (7.0, 3.0), (-20.0, 0.1)):
        x = torch.as_tensor(rng.normal(centre, width, size=(500, 2)))
        histograms.append(GrowingHistogram(2, bins=64))
        histograms[-1].update(x)
        seen.append(x)
    total = GrowingHistogram(2, bins=64)
    for histogram in [*histograms, GrowingHistogram(2, bins=64)]:
        total.merge_state(histogram)
    assert total.counts.sum(0).tolist() == [1500, 1500]
    values, edges = torch.cat(seen).sort(0).values, total.edges()
    slack = 1.5 * (edges[1] - edges[0])
    cumulated = total.counts.cumsum(0)
    for r in range(2):
        below = torch.searchsorted(values[:, r].contiguous(), edges[1:] - slack)
        above = torch.searchsorted(values[:, r].contiguous(), edges[1:] + slack)
        assert ((below <= cumulated[:, r]) & (cumulated[:, r] <= above)).all()
