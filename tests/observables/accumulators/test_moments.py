import numpy as np
import pytest
import torch
from scipy import stats

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.accumulators.moments import (
    BlockMoments,
    excess_kurtosis,
    mean,
    merge,
    moments_of,
    skewness,
    variance,
)


def test_the_four_moments_are_those_of_scipy_at_a_large_offset():
    x = torch.distributions.Gamma(1.5, 1.0).sample((5000, 3)).double() + 1e6
    m = moments_of(x)
    shifted = x.numpy() - 1e6
    assert mean(m).numpy() - 1e6 == pytest.approx(shifted.mean(0), abs=1e-8)
    assert variance(m).numpy() == pytest.approx(shifted.var(0, ddof=1), rel=1e-9)
    assert skewness(m).numpy() == pytest.approx(stats.skew(shifted), rel=1e-8)
    assert excess_kurtosis(m).numpy() == pytest.approx(stats.kurtosis(shifted), rel=1e-8)


@pytest.mark.parametrize("cuts", [[1], [10, 11, 500], [999], list(range(10, 1000, 10))])
def test_parts_merge_exactly(cuts):
    x = torch.randn(1000, 2, dtype=torch.float64).exp() + 3
    parts = torch.stack([moments_of(p) for p in x.tensor_split(cuts)], 1)
    empty = torch.zeros(5, 1, 2, dtype=torch.float64)
    assert merge(torch.cat([parts, empty], 1)).allclose(moments_of(x), rtol=1e-12)


@pytest.mark.parametrize("chunks", [1, 7, 8, 9, 16, 100])
def test_blocks_hold_the_moments_of_the_whole_series(chunks):
    x = torch.randn(chunks * 4, 2, dtype=torch.float64)
    blocks = BlockMoments((2,), length=4, blocks=8)
    for chunk in x.split(4):
        blocks.update(chunk)
    assert blocks.total().allclose(moments_of(x), rtol=1e-12)
    rest = torch.randn(3, 2, dtype=torch.float64)
    assert blocks.total(rest).allclose(moments_of(torch.cat([x, rest])), rtol=1e-12)
    B = blocks.complete_blocks().shape[1]
    assert B < 8 and (B >= 4 or chunks < 8)
    whole = x[: B * int(blocks.length)].unflatten(0, (B, int(blocks.length)))
    assert blocks.complete_blocks()[1].allclose(whole.mean(1))


def test_a_state_goes_on_where_it_was():
    x = torch.randn(100, 4, 1, dtype=torch.float64)
    one, first = (BlockMoments((1,), length=4, blocks=8) for _ in range(2))
    for chunk in x[:37]:
        first.update(chunk)
    second = BlockMoments((1,), 4, 8, state=first.metric_state)
    for chunk in x[37:]:
        second.update(chunk)
    for chunk in x:
        one.update(chunk)
    assert all(torch.equal(v, second.metric_state[k]) for k, v in one.metric_state.items())


def autoregression(phi, steps, series, seed=0):
    """Stationary AR(1) of variance 1, (steps, series)."""
    rng = np.random.default_rng(seed)
    x, kick = rng.normal(size=series), rng.normal(size=(steps, series)) * (1 - phi**2) ** 0.5
    out = np.empty((steps, series))
    for k in range(steps):
        x = out[k] = phi * x + kick[k]
    return torch.from_numpy(out)


def test_block_errors_cover():
    """Two errors of mean, variance, skewness and drift hold the truth in 95 % of 600 series.

    Between 91 and 98 %, four binomial standard errors of 0.9 % plus what 16 to 32 blocks cost.
    """
    blocks = BlockMoments((600,), length=64)
    for chunk in autoregression(0.8, 64 * 400, 600).split(64):
        blocks.update(chunk)
    m = blocks.total()
    for statistic in (mean, variance, skewness):
        exact = 1.0 if statistic is variance else 0.0
        within = (statistic(m) - exact).abs() < 2 * blocks.error(statistic)
        assert 0.91 < within.double().mean() < 0.98, statistic
    drift, error = blocks.drift()
    assert 0.91 < (drift.abs() < 2 * error).double().mean() < 0.98


def test_a_drift_is_found():
    """A line added to noise: within 4 standard errors, and the noise alone is no drift."""
    t = torch.linspace(0, 1, 64 * 32, dtype=torch.float64)
    blocks = BlockMoments((50,), length=64)
    for chunk in (0.3 * t[:, None] + torch.randn(len(t), 50)).split(64)[:31]:
        blocks.update(chunk)
    drift, error = blocks.drift()
    exact = 0.3 * 30 / 32  # between the middles of the first and the last block
    assert abs(drift.mean() - exact) < 4 * drift.std() / 50**0.5
    assert drift.std() == pytest.approx(error.square().mean().sqrt().item(), rel=0.3)


def test_too_few_blocks_have_no_error():
    blocks = BlockMoments((2,), length=4)
    for _ in range(3):
        blocks.update(torch.randn(4, 2))
    assert blocks.error(mean).isnan().all()
    assert all(value.isnan().all() for value in blocks.drift())


@pytest.mark.parametrize("lengths", [(7, 9), (40, 333), (333, 40), (500, 0), (31, 32)])
def test_blocks_merge_into_blocks(lengths):
    """All moments are exact, and the blocks that are complete are not shorter than they say."""
    parts = [torch.randn(n, 2, dtype=torch.float64) for n in lengths]
    first, second = (BlockMoments((2,), length=4, blocks=8) for _ in parts)
    first.update(parts[0])
    second.update(parts[1])
    first.merge_state(second)
    assert first.total().allclose(moments_of(torch.cat(parts)), rtol=1e-12)
    complete, L = first.complete_blocks(), int(first.length)
    assert (complete[0] >= L).all() and (complete[0] < 2 * L).all()
    assert complete.shape[1] < 8 and (complete.shape[1] >= 4 or sum(lengths) < 32)
    assert first.moments[0, complete.shape[1], 0] < L
    more = torch.randn(100, 2, dtype=torch.float64)
    first.update(more)
    assert first.total().allclose(moments_of(torch.cat([*parts, more])), rtol=1e-12)


def test_the_error_of_merged_blocks_is_that_of_the_longer_series():
    """Of two halves of 64 independent series: within 15 % on average of the blocks of the whole."""
    x = torch.randn(4096, 64, dtype=torch.float64)
    whole, first, second = (BlockMoments((64,), length=16) for _ in range(3))
    for blocks, values in ((whole, x), (first, x[:3000]), (second, x[3000:])):
        blocks.update(values)
    first.merge_state(second)
    expected = (2 / 4096) ** 0.5
    assert first.error(variance).mean() == pytest.approx(expected, rel=0.15)
    assert whole.error(variance).mean() == pytest.approx(expected, rel=0.15)


def test_misuse_is_refused():
    with pytest.raises(UsageError, match="length = 0: must be at least 1"):
        BlockMoments((2,), length=0)
    with pytest.raises(UsageError, match="blocks = 5: must be even"):
        BlockMoments((2,), length=4, blocks=5)
