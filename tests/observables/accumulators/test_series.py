import numpy as np
import pytest
import torch
from scipy import stats
from scipy.signal import welch

from lightning_landscape.observables.accumulators.series import EnergySeries


def fed(x, portions, units=None):
    series = EnergySeries(units if units is not None else torch.ones(x.shape[1]), segment=128)
    for part in x.split(portions):
        series.update(part)
    return series


def test_everything_is_that_of_the_stored_series():
    x = torch.distributions.Gamma(2.0, 1.0).sample((256 * 40 + 17, 2)).double()
    found = fed(x, 33, units=torch.tensor([1.0, 2.0])).results()
    inside = x[: 256 * 40]
    assert found["samples"].tolist() == [len(x)] * 2
    assert found["mean"].numpy() == pytest.approx(x.mean(0).numpy(), rel=1e-12)
    assert found["variance"].numpy() == pytest.approx(x.var(0).numpy(), rel=1e-12)
    assert found["skewness"].numpy() == pytest.approx(stats.skew(x.numpy()), rel=1e-9)
    assert found["kurtosis"].numpy() == pytest.approx(stats.kurtosis(x.numpy()), rel=1e-9)
    assert found["least"].tolist() == x.amin(0).tolist()
    assert found["tau"].numpy() == pytest.approx([1, 1], abs=0.3)
    assert found["mean_error"].numpy() == pytest.approx((2 / len(x)) ** 0.5, rel=0.2)
    expected = welch(inside.numpy(), nperseg=128, axis=0)[1]
    assert found["power"].numpy() == pytest.approx(expected, rel=1e-9)
    for r, unit in enumerate([1.0, 2.0]):
        counts = np.histogram(inside[:, r] / unit, found["edges"])[0]
        assert found["counts"][:, r].tolist() == counts.tolist()


@pytest.mark.parametrize("portions", [1, 100, 256, 3000])
def test_how_it_is_cut_and_where_it_goes_on_makes_no_difference(portions):
    x = torch.randn(2000, 3, dtype=torch.float64)
    whole = fed(x, 700)
    first = fed(x[:777], portions)
    second = EnergySeries(torch.ones(3), 128, state=first.metric_state)
    for part in x[777:].split(portions):
        second.update(part)
    assert whole.metric_state.keys() == second.metric_state.keys()
    assert all(torch.equal(v, second.metric_state[k]) for k, v in whole.metric_state.items())


def test_a_diverged_portion_is_left_out_and_counted():
    x = torch.randn(1024, 1, dtype=torch.float64)
    x[300] = torch.nan
    found = fed(x, 1024).results()
    kept = torch.cat([x[:256], x[512:]])
    assert found["mean"].item() == pytest.approx(kept.mean().item())
    assert found["lost"].tolist() == [256] and found["samples"].tolist() == [768]


def test_a_series_of_a_few_values_has_moments_and_no_errors():
    x = torch.tensor([[1.0], [2.0], [6.0]])
    found = fed(x, 2).results()
    assert (found["mean"].item(), found["variance"].item(), found["least"].item()) == (3, 7, 1)
    for name in ("mean_error", "variance_error", "tau", "drift", "power"):
        assert found[name].isnan().all(), name
