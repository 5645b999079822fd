"""Synonym invariance of representations that are invariant, or not, by construction."""

import pytest
import torch

from lightning_landscape.data.hierarchy import Grammar
from lightning_landscape.errors import UsageError
from lightning_landscape.observables.synonym_invariance import sensitivity, synonym_sensitivity

GRAMMAR = Grammar(v=6, m=3, L=2, n_c=4, seed=1)


def parents(symbols, level):
    """The symbols of a level whose productions these are, one-hot, shape (P, places, symbols)."""
    rule = GRAMMAR.rules[level]
    of_pair = torch.zeros(6, 6, dtype=torch.long)
    for symbol, productions in enumerate(rule):
        for left, right in productions:
            of_pair[left, right] = symbol
    pairs = symbols.unflatten(1, (-1, 2))
    return of_pair[pairs[..., 0], pairs[..., 1]]


def layers(x):
    """What a perfect network computes: the leaves, the symbols of level 1, and the class."""
    leaves = x.argmax(-1)
    middle = parents(leaves, 1)
    top = parents(middle, 2)
    one_hot = [torch.nn.functional.one_hot(s, 6).float().flatten(1) for s in (leaves, middle, top)]
    return [each.T[None] for each in one_hot]


def test_a_perfect_network():
    derivations = GRAMMAR.derivations(torch.arange(GRAMMAR.size))
    S = synonym_sensitivity(layers, GRAMMAR, derivations)[..., 0]
    leaves, middle, top = S
    assert middle[0] == 0 and (top == 0).all()
    assert middle[1] > 0.5 and (leaves > 0.5).all()


def test_the_ratio_against_all_pairs():
    z, other = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(1))
    pairs = [
        (z[:, :, i] - z[:, :, j]).square().sum(1) for i in range(7) for j in range(7) if i != j
    ]
    expected = (z - other).square().sum(1).mean(1) / torch.stack(pairs).mean(0)
    assert torch.allclose(sensitivity(z, other), expected)


def test_an_independent_sample_is_as_far_as_any():
    z, other = torch.randn(2, 1, 10, 4000, generator=torch.Generator().manual_seed(2))
    assert sensitivity(z, other).item() == pytest.approx(1, abs=0.03)
    with pytest.raises(UsageError, match="samples = 1"):
        sensitivity(z[..., :1], other[..., :1])
