import numpy as np
import pytest
import torch

from lightning_landscape.errors import UsageError
from lightning_landscape.observables.gaps import (
    avalanches,
    classification_gaps,
    hinge_loss,
    log_counts,
    satisfied,
    size_density,
    unsatisfied,
)


def test_counts_and_loss_of_known_gaps():
    gaps = torch.tensor([[0.5, -1.0, 0.0, 2.0], [-1.0, -2.0, -3.0, -0.1], [1e-6, 1e-7, -1, -1]])
    assert unsatisfied(gaps).tolist() == [2, 0, 2]
    assert hinge_loss(gaps).tolist() == pytest.approx([(0.25 + 4) / 8, 0, 1.01e-12 / 8], rel=1e-6)
    assert satisfied(gaps).tolist() == [False, True, True]


def test_every_pattern_that_changes_counts_once():
    before, after = torch.randn(5, 200), torch.randn(5, 200)
    up, down = avalanches(before, after)
    assert torch.equal(up - down, unsatisfied(after) - unsatisfied(before))
    assert torch.equal(up + down, (before.sign() != after.sign()).sum(1))


def test_the_density_of_sizes_is_per_whole_number():
    """It sums to one over the whole numbers, and a known law lies on it, to 4 standard errors."""
    k = torch.arange(1, 1001, dtype=torch.float64)
    law = k**-1.5 / (k**-1.5).sum()
    generator = torch.Generator().manual_seed(0)
    sizes = 1 + torch.multinomial(law, 50_000, replacement=True, generator=generator)
    sizes = torch.cat([sizes, torch.zeros(100, dtype=torch.int64)])  # nothing happened
    centres, density, error = size_density(sizes.view(2, -1))
    assert centres[:3].tolist() == [1.0, 2.0, 3.0] and (density >= 0).all()
    for n in range(1, 4):
        assert density[n - 1] == pytest.approx((sizes == n).sum().item() / 50_000)
    exact = centres**-1.5 / (k**-1.5).sum()
    few = (density - exact).abs() > 4 * error.clamp_min(1 / 50_000) + 0.02 * exact
    assert not few.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bins_are_those_of_numpy(dtype):
    edges = torch.logspace(-9, 4, 131, dtype=torch.float64)
    x = 10 ** (16 * torch.rand(4, 500, dtype=dtype) - 10) * torch.randn(4, 500, dtype=dtype).sign()
    x[0, :2] = torch.tensor([float("nan"), float("inf")])
    counts = log_counts(x, edges)
    for r in range(4):
        expected = np.histogram(x[r].double()[x[r].isfinite()], edges)[0]
        assert np.array_equal(counts[r], expected)
    assert counts.sum() > 500


def test_gaps_of_a_classifier_with_and_without_a_replica_axis():
    logits, labels = torch.randn(3, 20, 4), torch.randint(4, (20,))
    together = classification_gaps(logits, labels, margin=0.3)
    assert together.shape == (3, 20)
    for r in range(3):
        assert torch.equal(classification_gaps(logits[r], labels, margin=0.3), together[r])
    wrong = logits.argmax(-1) != labels
    assert torch.equal(classification_gaps(logits, labels, margin=0.0) > 0, wrong)


def test_a_single_output_is_a_sign():
    f, labels = torch.tensor([[2.0], [0.5], [-3.0]]), torch.tensor([1, 0, 1])
    assert classification_gaps(f, labels).tolist() == [-1.0, 1.5, 4.0]


def test_outputs_without_their_labels_are_refused():
    with pytest.raises(UsageError, match=r"outputs.shape = \(20, 4\)"):
        classification_gaps(torch.zeros(20, 4), torch.zeros(19))
