"""Transformations of data sets, against direct computation."""

import math

import pytest
import torch

from lightning_landscape.data import (
    Digits,
    GroupedClasses,
    LabelledData,
    OnSphere,
    Parity,
    PrincipalComponents,
    RandomData,
    RandomLabels,
    Resplit,
    Subset,
)
from lightning_landscape.errors import UsageError


def numbered(P=40, P_test=12, classes=4):
    """Sample mu holds the number mu, so that it can be traced."""
    x = torch.arange(float(P + P_test))[:, None].expand(-1, 2)
    y = (torch.arange(P + P_test) * 7) % classes
    return LabelledData(x[:P], y[:P], x[P:], y[P:], classes)


def numbers(x):
    return x[:, 0].long().tolist()


# labels


def test_groups_merge_classes_and_drop_the_others():
    data = numbered()
    grouped = GroupedClasses(data, [[2], [3, 0]])
    new = {2: 0, 3: 1, 0: 1}
    for x, y, old_x, old_y in (
        (grouped.inputs, grouped.targets, data.inputs, data.targets),
        (grouped.test_inputs, grouped.test_targets, data.test_inputs, data.test_targets),
    ):
        kept = [mu for mu, label in enumerate(old_y.tolist()) if label in new]
        assert numbers(x) == numbers(old_x[kept])
        assert y.tolist() == [new[old_y[mu].item()] for mu in kept]
    assert grouped.classes == 2


def test_parity_is_that_of_the_class():
    for data in (Digits(), numbered(classes=5)):
        parity = Parity(data)
        assert torch.equal(parity.targets, data.targets % 2) and parity.classes == 2
        assert torch.equal(parity.test_targets, data.test_targets % 2)
        assert torch.equal(parity.inputs, data.inputs)
    assert torch.equal(Parity(Digits()).targets, Digits(parity=True).targets)


@pytest.mark.parametrize("groups", [[[0, 1]], [[0], []], [[0], [0, 1]], [[0], [4]], [[-1], [0]]])
def test_overlapping_or_empty_groups_are_refused(groups):
    with pytest.raises(UsageError, match="groups = "):
        GroupedClasses(numbered(), groups)


def test_random_labels_are_uniform_and_independent_of_the_true_ones():
    data = RandomData(8000, 2, classes=4, test_samples=10)
    noisy = RandomLabels(data, seed=3)
    table = torch.zeros(4, 4, dtype=torch.float64)
    table.index_put_((data.targets, noisy.targets), torch.ones(8000).double(), accumulate=True)
    chi2 = ((table - 500) ** 2 / 500).sum().item()  # 12 degrees of freedom: rows are fixed
    assert abs(chi2 - 12) < 4 * 24**0.5  # 4 s.e.
    assert torch.equal(noisy.inputs, data.inputs)
    assert torch.equal(noisy.test_targets, data.test_targets)
    assert data.targets.tolist() == [0, 1, 2, 3] * 2000  # untouched


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_a_fraction_of_the_labels_is_random(fraction):
    P, classes = 8000, 4
    data = RandomData(P, 2, classes=classes, test_samples=10)
    changed = (RandomLabels(data, fraction).targets != data.targets).sum().item()
    n, p = round(fraction * P), 1 - 1 / classes
    assert abs(changed - n * p) <= 4 * (n * p * (1 - p)) ** 0.5  # 4 s.e.
    same = RandomLabels(data, fraction).targets
    assert torch.equal(RandomLabels(data, fraction).targets, same)
    assert fraction == 0 or not torch.equal(RandomLabels(data, fraction, seed=1).targets, same)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan])
def test_a_fraction_outside_the_interval_is_refused(fraction):
    with pytest.raises(UsageError, match="fraction"):
        RandomLabels(numbered(), fraction)


# subsets


def test_a_random_subset_is_a_uniform_draw_without_repetition():
    data, P, draws = numbered(), 10, 400
    seen = torch.zeros(40, dtype=torch.float64)
    for seed in range(draws):
        some = Subset(data, P, seed=seed)
        chosen = numbers(some.inputs)
        assert len(set(chosen)) == P and len(some.test_targets) == 12
        assert torch.equal(some.targets, data.targets[chosen])
        seen[chosen] += 1
    f = P / 40
    chi2 = ((seen - draws * f) ** 2 / (draws * f * (1 - f))).sum().item() * 39 / 40
    assert abs(chi2 - 39) < 4 * 78**0.5  # 4 s.e.


def test_balanced_classes_alternate():
    some = Subset(numbered(), 12, class_fractions="equal", seed=2)
    assert some.targets.tolist() == [0, 1, 2, 3] * 3
    assert torch.equal(some.targets, numbered().targets[numbers(some.inputs)])
    two = Subset(Parity(Digits()), 100, [0.5, 0.5])
    assert two.targets.tolist() == [0, 1] * 50


@pytest.mark.parametrize(
    "fractions, samples, expected",
    [
        ([0.7, 0.1, 0.1, 0.1], 10, [7, 1, 1, 1]),
        ([0.5, 0.5, 0.0, 0.0], 8, [4, 4, 0, 0]),
        ([0.25] * 4, 10, [3, 3, 2, 2]),  # remainders alike: the first classes
        ([0.1, 0.2, 0.3, 0.4], 7, [1, 1, 2, 3]),  # .7, 1.4, 2.1, 2.8
        ([1 / 3, 1 / 3, 1 / 3, 0.0], 9, [3, 3, 3, 0]),
    ],
)
def test_class_fractions_are_exact_to_the_nearest_sample(fractions, samples, expected):
    some = Subset(numbered(), samples, fractions)
    assert some.targets.bincount(minlength=4).tolist() == expected
    assert len(set(numbers(some.inputs))) == samples


def test_rare_classes_are_interleaved_evenly():
    places = (Subset(Digits(parity=True), 400, [0.9, 0.1]).targets == 1).nonzero().flatten()
    assert len(places) == 40 and (places.diff() == 10).all()


@pytest.mark.parametrize("fractions", [None, "equal"])
def test_a_smaller_subset_is_the_beginning_of_a_larger_one(fractions):
    few, many = (Subset(Digits(), P, fractions, seed=4) for P in (200, 400))
    assert torch.equal(few.inputs, many.inputs[:200])
    other = Subset(Digits(), 200, fractions, seed=5)
    assert not torch.equal(few.inputs, other.inputs)


def test_test_samples_are_drawn_from_the_test_samples():
    some = Subset(numbered(), 5, test_samples=6)
    chosen = numbers(some.test_inputs)
    assert len(set(chosen)) == 6 and min(chosen) >= 40
    assert some.test_targets.tolist() == [7 * mu % 4 for mu in chosen]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"samples": 41}, "samples = 41: must lie in 1 … 40"),
        ({"samples": 0}, "samples = 0"),
        ({"samples": 5, "test_samples": 13}, "test_samples = 13"),
        ({"samples": 20, "class_fractions": [0.7, 0.1, 0.1, 0.1]}, "class 0 has 10 .* 14"),
        ({"samples": 5, "class_fractions": [0.5, 0.5]}, "must be 4 numbers"),
        ({"samples": 5, "class_fractions": [0.5, 0.5, 0.5, -0.5]}, ">= 0, one per class"),
        ({"samples": 5, "class_fractions": [0.5, 0.2, 0.1, 0.1]}, "with sum 1"),
    ],
)
def test_impossible_subsets_are_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        Subset(numbered(), **arguments)


def test_a_new_split_keeps_all_samples():
    data = Resplit(numbered(), test_samples=5)
    train, test = numbers(data.inputs), numbers(data.test_inputs)
    assert sorted(train + test) == list(range(52)) and len(test) == 5
    assert data.targets.tolist() == [7 * mu % 4 for mu in train]
    assert data.test_targets.tolist() == [7 * mu % 4 for mu in test]
    # both parts are drawn from both: none of 12 in 47 has probability 1e-7
    assert any(mu >= 40 for mu in train)
    for wrong in (0, 52):
        with pytest.raises(UsageError, match="test_samples"):
            Resplit(numbered(), test_samples=wrong)


# projections


def correlated(P=300, P_test=50, D=12):
    mixing = torch.randn(D, D, dtype=torch.float64)
    x = (torch.randn(P + P_test, D, dtype=torch.float64) @ mixing + 3).view(-1, 3, D // 3)
    y = torch.arange(P + P_test) % 2
    return LabelledData(x[:P], y[:P], x[P:], y[P:], 2)


def test_components_are_those_of_the_singular_value_decomposition():
    data, d = correlated(), 5
    x, test = data.inputs.flatten(1), data.test_inputs.flatten(1)
    u, s, vt = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    plain, white = (PrincipalComponents(data, d, whiten) for whiten in (False, True))
    signs = (plain.inputs * u[:, :d]).sum(0).sign()
    torch.testing.assert_close(plain.inputs, signs * (u * s)[:, :d])
    torch.testing.assert_close(white.inputs, signs * u[:, :d] * 300**0.5)
    torch.testing.assert_close(plain.test_inputs, signs * ((test - x.mean(0)) @ vt[:d].T))
    torch.testing.assert_close(white.test_inputs, plain.test_inputs * 300**0.5 / s[:d])
    leading = vt[:d] * signs[:, None]
    assert (leading.gather(1, leading.abs().argmax(1, keepdim=True)) > 0).all()


def test_whitened_digits_have_unit_covariance():
    data = PrincipalComponents(Digits(), components=10)
    z = data.inputs.double()
    covariance = (z - z.mean(0)).T @ (z - z.mean(0)) / len(z)
    torch.testing.assert_close(covariance, torch.eye(10).double(), rtol=0, atol=1e-5)
    assert data.inputs.dtype == torch.float32 and data.test_inputs.shape == (359, 10)


def test_projection_in_blocks_differs_only_by_rounding(monkeypatch):
    from lightning_landscape.data import projections

    data = correlated()
    whole = PrincipalComponents(data, 4)
    monkeypatch.setattr(projections, "_BLOCK", 7)
    torch.testing.assert_close(PrincipalComponents(data, 4).inputs, whole.inputs)


def test_directions_without_variance_are_refused():
    x = torch.randn(50, 3) @ torch.randn(3, 8)
    data = LabelledData(x, torch.arange(50) % 2, x, torch.arange(50) % 2, 2)
    PrincipalComponents(data, 3)
    with pytest.raises(UsageError, match="components = 4: the samples vary in only 3 directions"):
        PrincipalComponents(data, 4)
    for wrong in (0, 9):
        with pytest.raises(UsageError, match="must lie in 1 … 8"):
            PrincipalComponents(data, wrong)


def test_samples_on_the_sphere():
    data = correlated()
    sphere = OnSphere(data)
    assert sphere.inputs.shape == data.inputs.shape
    mean = data.inputs.mean(0)
    for x, before in ((sphere.inputs, data.inputs), (sphere.test_inputs, data.test_inputs)):
        for mu in range(20):
            centred = before[mu] - mean
            torch.testing.assert_close(x[mu], centred * 12**0.5 / centred.norm())


def test_random_data_on_the_sphere_are_the_normalized_ones():
    raw, normalized = (RandomData(50, 6, normalized=n, seed=2) for n in (False, True))
    torch.testing.assert_close(OnSphere(raw).inputs, normalized.inputs)
    torch.testing.assert_close(OnSphere(raw).test_inputs, normalized.test_inputs)


def test_the_jamming_protocol_on_digits():
    """Parity, balanced and alternating, ten whitened components, on the sphere."""
    data = OnSphere(PrincipalComponents(Subset(Parity(Digits()), 600, "equal"), components=10))
    assert data.inputs.shape == (600, 10) and data.targets.tolist() == [0, 1] * 300
    torch.testing.assert_close(data.inputs.square().sum(1), torch.full((600,), 10.0))
    # whitened: no direction is left out, and the spread over them is that of a sphere
    covariance = data.inputs.T @ data.inputs / 600
    assert torch.linalg.eigvalsh(covariance).min() > 0.5
