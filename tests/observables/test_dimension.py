import numpy as np
import pytest
import torch

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.dimension import (
    Sketch,
    from_mean,
    from_specific_heat,
    from_variance,
    participation_ratio,
)
from lightning_landscape.observables.fluctuations import (
    configurational_temperature_ratio,
    displacement_along,
    gradient_of,
    near_boundary,
    orthogonal_directions,
)


def test_three_dimensions_of_a_gamma_law():
    """n = 12 directions at three temperatures, from 50 000 samples each: 4 standard errors."""
    rng, n, samples = np.random.default_rng(0), 12, 50_000
    T = np.array([0.1, 1.0, 5.0])
    U = 0.7 + T * rng.gamma(n / 2, size=(samples, 3))
    error = T * (n / 2 / samples) ** 0.5
    assert abs(from_mean(U.mean(0), T, lowest_energy=0.7) - n).max() < 4 * 2 * (6 / samples) ** 0.5
    spread = 2 * n / 2 * ((2 + 12 / n) / samples) ** 0.5  # excess kurtosis 12/n
    assert abs(from_variance(U.var(0), T) - n).max() < 4 * spread
    order = [2, 0, 1]
    between, N, dN = from_specific_heat(U.mean(0)[order], error[order], T[order])
    assert between == pytest.approx([0.1**0.5, 5**0.5])
    assert (abs(N - n) < 4 * dN).all() and (dN < 0.3).all()


@pytest.mark.parametrize("size", [None, 40], ids=["whole", "sketched"])
def test_participation_ratio_without_bias(size):
    """From 12 samples of 60 numbers, mean traces over 400 replicas: within 4 standard errors.

    Squared traces are compared before their ratio, which has the bias of any ratio; the plain
    covariance would give 9 here.
    """
    spectrum = torch.cat([torch.ones(20), 0.3 * torch.ones(30), torch.zeros(10)]).double()
    exact = spectrum.sum() ** 2 / spectrum.square().sum()
    replicas, S = 400, 12
    x = torch.randn(S, replicas, 60, dtype=torch.float64) * spectrum.sqrt()
    if size is None:
        ratios = participation_ratio(x)
        assert ratios.median() == pytest.approx(exact.item(), rel=0.1)
        return
    values = []
    for seed in range(60):  # the directions are common to all replicas, so they are redrawn
        sketch = Sketch(60, size, seed)
        assert sketch.sketched == size
        sketched = torch.stack([sketch(part) for part in x])
        values.append(participation_ratio(sketched, size).median())
    values = torch.stack(values)
    # the median of ratios has a bias of a few per cent, as that of the whole samples has
    whole = participation_ratio(x).median()
    assert abs(values.mean() - whole) < 4 * values.std() / 60**0.5 + 0.03 * whole
    assert values.mean() == pytest.approx(exact.item(), rel=0.12)


def test_participation_ratio_of_many_samples():
    """1 % with 3000 samples, and a sketch of all directions is the configuration."""
    spectrum = torch.linspace(0, 2, 30).double()
    x = torch.randn(3000, 2, 30, dtype=torch.float64) * spectrum.sqrt()
    exact = (spectrum.sum() ** 2 / spectrum.square().sum()).item()
    assert participation_ratio(x).numpy() == pytest.approx([exact] * 2, rel=0.02)
    assert Sketch(30, 256).sketched is None
    assert torch.equal(Sketch(30, 256)(x[0]), x[0])


def test_a_sketch_keeps_lengths_and_is_the_same_at_each_call():
    x = torch.randn(5, 3000)
    sketch = Sketch(3000, 200)
    y = sketch(x)
    assert torch.equal(y, sketch(x))
    ratio = y.square().sum(1) / x.square().sum(1)
    assert (ratio - 1).abs().max() < 4 * (2 / 200) ** 0.5
    # rows drawn in portions are different rows
    assert torch.linalg.matrix_rank(y) == 5
    assert sketch(torch.eye(3000)[:1]).unique().numel() == 200


def test_the_gradient_of_each_replica():
    x = torch.nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
    unused = torch.nn.Parameter(torch.randn(3, 2))
    gradient = gradient_of(lambda: x.pow(3).sum(1), [x, unused], 3)
    assert gradient[:, :4].allclose(3 * x.detach() ** 2)
    assert gradient.shape == (3, 6) and not gradient[:, 4:].any()


def test_configurational_temperature_ratio_of_a_discretised_valley():
    """n = 3 curvatures at a large step: 1/(1 - lr lambda/2) averaged, within 4 errors; and the
    jackknife error is that of many repetitions."""
    lam, T, lr = np.array([0.5, 1.0, 4.0]), 0.1, 0.3
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 50, 3)) * np.sqrt(T / (lam * (1 - lr * lam / 2)))
    exact = (lam / (1 - lr * lam / 2)).sum() / lam.sum()
    got = np.array(
        [
            configurational_temperature_ratio(((lam * y) ** 2).sum(1), np.full(50, lam.sum()), T)
            for y in x
        ]
    )
    assert exact > 1.9
    assert abs(got[:, 0].mean() - exact) < 4 * got[:, 0].std() / 300**0.5
    assert got[:, 1].mean() == pytest.approx(got[:, 0].std(), rel=0.15)


def test_displacement_along_directions():
    stiff = torch.eye(6)[None, :2].expand(3, -1, -1)
    flat = orthogonal_directions(stiff, torch.randn(3, 3, 6))
    assert (flat @ flat.mT).allclose(torch.eye(3).expand(3, -1, -1), atol=1e-6)
    assert (flat @ stiff.mT).abs().max() < 1e-6
    x, origin = torch.randn(3, 6), torch.randn(3, 6)
    d = x - origin
    assert displacement_along(x, origin, stiff).allclose((d[:, :2] ** 2).mean(1).double())
    whole = torch.cat([stiff, orthogonal_directions(stiff, torch.randn(3, 4, 6))], 1)
    assert (6 * displacement_along(x, origin, whole)).allclose(
        d.square().sum(1).double(), rtol=1e-5
    )


def test_data_on_both_sides_of_the_boundary_count():
    gaps = torch.tensor([[-0.1, 0.1, 3.0], [-2.0, 2.0, 0.9]])
    assert near_boundary(gaps, 1.0).tolist() == [2, 1]


def test_senseless_arguments_are_refused():
    with pytest.raises(UsageError, match=r"len\(samples\) = 3: must be at least 4"):
        participation_ratio(torch.randn(3, 1, 5))
    with pytest.raises(UsageError, match="needs two or more, all different"):
        from_specific_heat([1, 2], [0.1, 0.1], [0.5, 0.5])
