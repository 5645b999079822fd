import math

import pytest
import torch
import torch.nn.functional as F

from lightning_landscape.energies.networks.losses import (
    LOSSES,
    correct,
    gaps,
    loss_named,
    target_vectors,
)
from lightning_landscape.errors import UsageError

R, P = 3, 50


def outputs_and_targets(classes, outputs, loss):
    f = 3 * torch.randn(R, P, outputs, dtype=torch.float64)
    labels = torch.randint(classes, (P,))
    return f, labels, target_vectors(labels, classes, outputs, loss).double().unsqueeze(0)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_cross_entropy_is_torchs(classes):
    f, labels, y = outputs_and_targets(classes, classes, "cross_entropy")
    expected = torch.stack([F.cross_entropy(f[r], labels, reduction="none") for r in range(R)])
    torch.testing.assert_close(LOSSES["cross_entropy"].value(f, y), expected)


def test_cross_entropy_of_one_output_is_that_of_two_whose_difference_it_is():
    f, labels, y = outputs_and_targets(2, 1, "cross_entropy")
    pair = torch.cat([-f / 2, f / 2], dim=-1)
    expected = torch.stack([F.cross_entropy(pair[r], labels, reduction="none") for r in range(R)])
    torch.testing.assert_close(LOSSES["cross_entropy"].value(f, y), expected)
    bce = F.binary_cross_entropy_with_logits(
        f.squeeze(-1), labels.double().expand(R, P), reduction="none"
    )
    torch.testing.assert_close(LOSSES["cross_entropy"].value(f, y), bce)


@pytest.mark.parametrize("outputs", [1, 4])
def test_squared_is_half_of_torchs(outputs):
    f, _, y = outputs_and_targets(max(2, outputs), outputs, "squared")
    torch.testing.assert_close(LOSSES["squared"].value(f, y), ((f - y) ** 2).sum(-1) / 2)
    expected = F.mse_loss(f, y.expand_as(f), reduction="none").sum(-1) / 2
    torch.testing.assert_close(LOSSES["squared"].value(f, y), expected)


def test_quadratic_hinge_vanishes_with_margin_one():
    f = torch.tensor([[[2.0], [1.0], [0.5], [0.0], [-1.0]]])
    y = torch.ones(1, 5, 1)
    expected = torch.tensor([[0.0, 0.0, 0.125, 0.5, 2.0]])
    assert torch.equal(LOSSES["quadratic_hinge"].value(f, y), expected)
    assert torch.equal(LOSSES["quadratic_hinge"].value(-f, -y), expected)


@pytest.mark.parametrize(
    "loss, classes, outputs",
    [
        ("cross_entropy", 10, 10),
        ("cross_entropy", 2, 2),
        ("cross_entropy", 2, 1),
        ("quadratic_hinge", 2, 1),
        ("squared", 10, 10),
        ("squared", 2, 1),
    ],
)
def test_written_slope_is_the_derivative(loss, classes, outputs):
    f, _, y = outputs_and_targets(classes, outputs, loss)
    # as an architecture lays it out in memory, and as it comes
    for g in (f.transpose(1, 2).contiguous().transpose(1, 2), f):
        g.requires_grad_()
        value = LOSSES[loss].value(g, y)
        (expected,) = torch.autograd.grad(value.sum(), g)
        also_value, slope = LOSSES[loss].value_and_slope(g.detach(), y)
        torch.testing.assert_close(also_value, value.detach())
        torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize("outputs", [1, 2])
def test_cross_entropy_survives_confident_outputs(outputs):
    f = torch.full((1, 2, outputs), 0.0)
    f[..., -1] = 1e4
    y = target_vectors(torch.tensor([0, 1]), 2, outputs, "cross_entropy").float().unsqueeze(0)
    value, slope = LOSSES["cross_entropy"].value_and_slope(f, y)
    torch.testing.assert_close(value, torch.tensor([[1e4, 0.0]]))
    torch.testing.assert_close(slope[0, :, -1], torch.tensor([1.0, 0.0]))


def test_at_zero_output_cross_entropy_is_the_logarithm_of_the_classes():
    for classes, outputs in ((2, 1), (2, 2), (10, 10)):
        labels = torch.arange(classes)
        y = target_vectors(labels, classes, outputs, "cross_entropy").float().unsqueeze(0)
        value = LOSSES["cross_entropy"].value(torch.zeros(1, classes, outputs), y)
        torch.testing.assert_close(value, torch.full((1, classes), math.log(classes)))


def test_the_class_is_that_of_the_largest_output_or_of_the_sign():
    y = target_vectors(torch.tensor([0, 1, 2]), 3, 3, "squared").unsqueeze(0)
    f = torch.tensor([[[0.3, 0.2, 0.1], [0.0, -1.0, 2.0], [0.0, 0.0, 1.0]]])
    assert correct(f, y).tolist() == [[True, False, True]]
    y = target_vectors(torch.tensor([0, 1, 0]), 2, 1, "squared").unsqueeze(0)
    assert correct(torch.tensor([[[-1.0], [0.1], [0.1]]]), y).tolist() == [[True, True, False]]


def test_targets_are_signs_or_one_hot():
    labels = torch.tensor([0, 1, 1])
    assert target_vectors(labels, 2, 1, "squared").tolist() == [[-1], [1], [1]]
    assert target_vectors(labels, 2, 2, "squared").tolist() == [[1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    "classes, outputs, loss, words",
    [
        (3, 1, "squared", "needs 3"),
        (3, 2, "cross_entropy", "needs 3"),
        (2, 3, "cross_entropy", "needs 2 or 1"),
        (2, 2, "quadratic_hinge", "needs 1"),
        (3, 3, "quadratic_hinge", "two classes"),
        (2, 2, "hinge", "must be one of cross_entropy"),
    ],
)
def test_what_does_not_go_together_is_refused(classes, outputs, loss, words):
    with pytest.raises(UsageError, match=words):
        target_vectors(torch.tensor([0, 1]), classes, outputs, loss)


def test_the_hinge_of_any_margin_is_half_the_square_of_the_positive_gap():
    f, _, y = outputs_and_targets(2, 1, "quadratic_hinge")
    loss, gap = loss_named("quadratic_hinge", margin=0.3), 0.3 - (y * f).squeeze(-1)
    expected = torch.where(gap > 0, gap**2 / 2, 0.0)
    torch.testing.assert_close(loss.value(f, y), expected)
    value, slope = loss.value_and_slope(f, y)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope.squeeze(-1), -y.squeeze(-1) * gap.clamp_min(0))
    torch.testing.assert_close(gaps(f, y, 0.3), gap)


def test_the_gap_of_many_classes_is_the_margin_to_the_runner_up():
    f, labels, y = outputs_and_targets(4, 4, "cross_entropy")
    for r in range(R):
        for mu in range(P):
            others = [f[r, mu, k].item() for k in range(4) if k != labels[mu]]
            expected = 0.5 - (f[r, mu, labels[mu]].item() - max(others))
            assert gaps(f, y, 0.5)[r, mu].item() == pytest.approx(expected, abs=1e-12)


def test_without_a_margin_the_unsatisfied_are_the_misclassified():
    for classes, outputs in ((2, 1), (2, 2), (5, 5)):
        f, _, y = outputs_and_targets(classes, outputs, "squared")
        assert torch.equal(gaps(f, y, 0.0) < 0, correct(f, y))


@pytest.mark.parametrize("margin", [-0.1, math.inf, math.nan])
def test_a_margin_is_finite_and_not_negative(margin):
    with pytest.raises(UsageError, match=r"margin = .*at least 0"):
        loss_named("quadratic_hinge", margin)
