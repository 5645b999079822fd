"""Per-sample gradients by the factors of layers, against gradients taken one by one."""

import pytest
import torch
from torch import nn

from lightning_landscape.data import LabelledData
from lightning_landscape.energies import NetworkEnergy, Replicated
from lightning_landscape.observables import gradients_of
from lightning_landscape.observables.gradient_noise.factors import plan_of

P, WORDS, LENGTH = 12, 9, 6


class Transformer(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.batch_first = batch_first
        self.words = nn.Embedding(WORDS, 8, padding_idx=0)
        self.block = nn.TransformerEncoderLayer(8, 2, 5, dropout=0.0, batch_first=batch_first)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        h = self.words(x.long())
        h = self.block(h if self.batch_first else h.transpose(0, 1))
        return self.out(h.mean(1 if self.batch_first else 0))


class Unusual(nn.Module):
    """A layer that is used twice, a bare parameter, and a layer that does nothing."""

    def __init__(self):
        super().__init__()
        self.twice, self.scale = nn.Linear(LENGTH, LENGTH), nn.Parameter(torch.ones(LENGTH))
        self.out, self.dead = nn.Linear(LENGTH, 3), nn.Linear(LENGTH, 3)

    def forward(self, x):
        h = torch.tanh(self.twice(torch.tanh(self.twice(x)))) * self.scale
        return self.out(h) + 0 * self.dead(x)


def images():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="circular"),
        nn.GroupNorm(2, 4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, stride=2, groups=2, dilation=(1, 2)),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(4 * 3 * 3, 3),
    )


def series():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding="same"), nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)
    )


def normalised():
    return nn.Sequential(nn.Linear(LENGTH, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 3))


def words(*shape):
    return torch.randint(0, WORDS, shape, generator=torch.Generator().manual_seed(1)).float()


def numbers(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


CASES = {
    "linear and layer norm": (normalised, numbers(P, LENGTH), []),
    "images": (images, numbers(P, 2, 8, 8), []),
    "series": (series, numbers(P, 2, LENGTH), []),
    "transformer": (Transformer, words(P, LENGTH), []),
    "as many words as samples": (Transformer, words(P, 3), []),
    "time first": (lambda: Transformer(batch_first=False), words(P, LENGTH), []),
    "time first, as many words as samples tried": (
        lambda: Transformer(batch_first=False),
        words(P, 3),
        [],
    ),
}


def energy_of(make, x, replicas=1):
    y = torch.arange(len(x)) % 3
    return NetworkEnergy(
        Replicated(make, replicas=replicas), LabelledData(x, y, x[:1], y[:1], 3), "cross_entropy"
    ).double()


def one_by_one(energy):
    """The variance of the gradients of single samples, (R, N), by as many backward passes."""
    parameters = list(energy.parameters())
    rows = []
    for k in range(energy.samples):
        loss = energy.losses(parameters, torch.tensor([k])).sum()
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        rows.append(torch.cat([g.flatten(1) for g in gradients], dim=1))
    return torch.stack(rows).mean(0), torch.stack(rows).var(0)


def left_over(energy):
    source = gradients_of(energy)
    own = [p[0].detach() for p in source.parameters]
    left = plan_of(source._losses_of_one, own, source.rows).left
    return [energy.architecture._names[k] for k in left]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("memory", [1, 2**26])
def test_moments_are_those_of_gradients_one_by_one(case, memory):
    make, x, left = CASES[case]
    energy = energy_of(make, x, replicas=2)
    assert left_over(energy) == left
    moments = gradients_of(energy, memory=memory).moments()
    mean, variance = one_by_one(energy)
    torch.testing.assert_close(moments.mean, mean, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(moments.variance, variance, rtol=1e-9, atol=1e-14)


def test_what_has_no_factors_is_differentiated_sample_by_sample():
    energy = energy_of(Unusual, numbers(P, LENGTH))
    usual = {"out.weight", "out.bias"}
    assert set(left_over(energy)) == set(energy.architecture._names) - usual
    moments = gradients_of(energy).moments()
    mean, variance = one_by_one(energy)
    torch.testing.assert_close(moments.mean, mean, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(moments.variance, variance, rtol=1e-9, atol=1e-14)


def test_a_function_without_a_rule_is_left():
    energy = energy_of(
        lambda: nn.Sequential(nn.ConvTranspose1d(2, 2, 3), nn.Flatten(), nn.Linear(16, 3)),
        numbers(P, 2, LENGTH),
    )
    assert left_over(energy) == ["0.weight", "0.bias"]
    torch.testing.assert_close(gradients_of(energy).moments().variance, one_by_one(energy)[1])


def test_attention_keeps_its_outputs():
    """What is opened to see its parts computes what torch computes."""
    energy = energy_of(Transformer, words(P, LENGTH))
    source = gradients_of(energy)
    own = [p[0].detach() for p in source.parameters]
    direct = energy.losses([p[:1] for p in source.parameters], source.rows)[0]
    torch.testing.assert_close(source._losses_of_one(own, source.rows), direct)
