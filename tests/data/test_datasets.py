import pytest
import torch

from lightning_landscape.data import Digits, LabelledData, RandomData
from lightning_landscape.errors import UsageError

# digits


def test_digits_are_the_real_ones():
    from sklearn.datasets import load_digits

    data, (pixels, labels) = Digits(), load_digits(return_X_y=True)
    x = torch.cat([data.inputs, data.test_inputs]).flatten(1).double()
    y = torch.cat([data.targets, data.test_targets])
    assert x.shape == (1797, 64) and data.classes == 10
    assert y.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    # undo the normalisation: the blank corner is 0, the darkest pixel 16
    raw = 16 * (x - x.min()) / (x.max() - x.min())
    rows = {(*map(round, row), label) for row, label in zip(raw.tolist(), y.tolist(), strict=True)}
    assert rows == {(*map(round, row), label) for row, label in zip(pixels, labels, strict=True)}


def test_digits_are_normalized_by_their_training_samples():
    data = Digits(test_fraction=0.5)
    assert data.inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.inputs.square().mean().item() == pytest.approx(1, abs=1e-5)
    # 57 500 pixels of the other half: same law, not the same numbers
    assert 1e-5 < abs(data.test_inputs.square().mean().item() - 1) < 0.05


def test_the_split_of_digits_depends_on_the_seed():
    one, same, other = Digits(), Digits(), Digits(seed=1)
    assert len(one.test_inputs) == 359 and len(one.inputs) == 1438
    assert torch.equal(one.inputs, same.inputs)
    assert not torch.equal(one.test_targets, other.test_targets)
    # a random division: the number of each digit held out is hypergeometric
    counts = torch.cat([one.targets, one.test_targets]).bincount().double()
    held_out = one.test_targets.bincount().double()
    f = 359 / 1797
    error = (counts * f * (1 - f)).sqrt()
    assert ((held_out - f * counts).abs() < 4 * error).all()  # 4 s.e.


def test_parity_is_the_parity_of_the_digit():
    digits, parity = Digits(), Digits(parity=True)
    assert torch.equal(parity.targets, digits.targets % 2) and parity.classes == 2
    assert torch.equal(parity.inputs, digits.inputs)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1e-5])
def test_a_split_with_an_empty_part_is_refused(fraction):
    with pytest.raises(UsageError, match="test_fraction"):
        Digits(test_fraction=fraction)


# random data


def test_random_data_are_normal_and_balanced():
    P, d = 2000, 50
    data = RandomData(samples=P, dimension=d, classes=4, test_samples=100)
    x = data.inputs.double()
    assert abs(x.mean().item()) < 4 / (P * d) ** 0.5
    assert abs(x.var().item() - 1) < 4 * (2 / (P * d)) ** 0.5
    overlap = (x[:-1] * x[1:]).sum(1)  # neighbours are independent: variance d
    assert abs(overlap.square().mean().item() / d - 1) < 4 * ((2 + 12 / d) / P) ** 0.5
    assert data.targets.bincount().tolist() == [500] * 4
    # independent of the label: the class means are normals of variance 1 / 500
    means = torch.stack([x[data.targets == c].mean(0) for c in range(4)])
    assert abs(500 * means.square().mean().item() - 1) < 4 * (2 / (4 * d)) ** 0.5


def test_random_data_depend_on_the_seed_and_test_samples_differ():
    one, same, other = (RandomData(20, 5, test_samples=20, seed=s) for s in (0, 0, 1))
    assert torch.equal(one.inputs, same.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert not torch.equal(one.inputs, one.test_inputs)


@pytest.mark.parametrize("name", ["samples", "dimension", "classes", "test_samples"])
def test_random_data_without_size_are_refused(name):
    with pytest.raises(UsageError, match=f"{name} = 0"):
        RandomData(**{"samples": 5, "dimension": 3, name: 0})


def test_normalized_random_data_are_centred_and_have_one_norm():
    P, d = 200, 30
    raw = RandomData(P, d, test_samples=50, seed=3)
    data = RandomData(P, d, test_samples=50, seed=3, normalized=True)
    for x, before in ((data.inputs, raw.inputs), (data.test_inputs, raw.test_inputs)):
        torch.testing.assert_close(x.square().sum(1), torch.full((len(x),), float(d)))
        centred = before - raw.inputs.mean(0)
        cosine = torch.nn.functional.cosine_similarity(x, centred)
        torch.testing.assert_close(cosine, torch.ones(len(x)))
    # lengths differed by 1 / sqrt(2 d), so of the mean a fraction of that is back
    assert data.inputs.mean(0).norm() < 0.5 * raw.inputs.mean(0).norm()
    assert data.targets.tolist() == [0, 1] * (P // 2)
    with pytest.raises(UsageError, match="samples = 1"):
        RandomData(1, d, normalized=True)


# the contract


@pytest.mark.parametrize(
    "change, words",
    [
        ({"targets": torch.zeros(3, dtype=torch.int64)}, r"targets\.shape = \(3,\).*\(4,\)"),
        ({"targets": torch.full((4,), 2)}, r"targets = 2 … 2: must lie in 0 … 1"),
        ({"test_targets": torch.full((2,), -1)}, "test_targets = -1"),
        ({"inputs": torch.zeros(0, 5), "targets": torch.zeros(0)}, "at least one sample"),
        ({"test_inputs": torch.zeros(2, 6)}, r"\(6,\): must be \(5,\)"),
        ({"classes": 1}, "classes = 1"),
    ],
)
def test_mismatched_tensors_are_refused(change, words):
    good = {
        "inputs": torch.zeros(4, 5),
        "targets": torch.tensor([0, 1, 0, 1]),
        "test_inputs": torch.zeros(2, 5),
        "test_targets": torch.tensor([0, 1]),
        "classes": 2,
    }
    LabelledData(**good)
    with pytest.raises(UsageError, match=words):
        LabelledData(**{**good, **change})
