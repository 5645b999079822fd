"""The random hierarchy model by enumeration, and the compositional function by hand."""

import itertools

import pytest
import torch

from lightning_landscape.data import RandomHierarchy, SparseCompositional
from lightning_landscape.data.hierarchy import Derivations, Grammar, _permuted
from lightning_landscape.errors import UsageError


def parsed(grammar, leaves):
    """The classes of samples, by undoing the productions from the leaves upwards."""
    symbols = leaves
    for level in range(1, grammar.L + 1):
        parent = {
            tuple(production.tolist()): symbol
            for symbol, productions in enumerate(grammar.rules[level])
            for production in productions
        }
        tuples = symbols.unflatten(1, (-1, grammar.s)).tolist()
        symbols = torch.tensor([[parent[tuple(each)] for each in row] for row in tuples])
    return symbols.squeeze(1)


@pytest.mark.parametrize("sizes", [(4, 2, 2, 2, 3), (3, 3, 1, 3, 5), (3, 2, 2, 3, 2)])
def test_all_samples(sizes):
    """Every derivation occurs once, no two have the same leaves, and the leaves tell the class."""
    grammar = Grammar(*sizes, seed=1)
    all_of_them = grammar.derivations(torch.arange(grammar.size))
    leaves = grammar.symbols(all_of_them)
    assert leaves.shape == (grammar.size, grammar.leaves)
    assert len(leaves.unique(dim=0)) == grammar.size
    assert torch.equal(parsed(grammar, leaves), all_of_them.classes)
    each = torch.cat([all_of_them.classes[:, None], all_of_them.choices], dim=1)
    choices = itertools.product(range(grammar.n_c), *[range(grammar.m)] * grammar.nodes)
    assert sorted(map(tuple, each.tolist())) == sorted(choices)


def test_productions_are_distinct():
    grammar = Grammar(v=6, m=6, L=3, s=2, n_c=4)
    assert [tuple(rule.shape) for rule in grammar.rules.values()] == [(6, 6, 2)] * 2 + [(4, 6, 2)]
    for rule in grammar.rules.values():
        assert len(rule.flatten(0, 1).unique(dim=0)) == rule[..., 0].numel()
        assert rule.min() >= 0 and rule.max() <= 5
    assert not torch.equal(grammar.rules[1], grammar.rules[2])
    assert torch.equal(grammar.rules[1].flatten(0, 1).unique(dim=0), torch.cartesian_prod(
        torch.arange(6), torch.arange(6)))  # fmt: skip


def test_leaves_by_hand():
    grammar = Grammar(v=4, m=2, L=2, n_c=3, seed=5)
    choices = torch.tensor([[1, 0, 1]])
    left, right = grammar.rules[2][2, 1]
    expected = torch.cat([grammar.rules[1][left, 0], grammar.rules[1][right, 1]])
    found = grammar.symbols(Derivations(torch.tensor([2]), choices))
    assert torch.equal(found[0], expected)


def test_samples_are_functions_of_seed_and_index():
    grammar = Grammar(v=8, m=4, L=3, seed=3)
    some = torch.tensor([5, 77, 100_000])
    alone = grammar.derivations(some)
    together = grammar.derivations(torch.arange(grammar.size))
    assert torch.equal(alone.choices, together.choices[some])
    assert not torch.equal(Grammar(8, 4, 3, seed=4).derivations(some).choices, alone.choices)
    small, large = (RandomHierarchy(8, 4, 3, samples=P, test_samples=50) for P in (100, 300))
    assert torch.equal(small.inputs, large.inputs[:100])
    assert torch.equal(small.test_inputs, large.test_inputs)


def test_choices_are_uniform():
    """Pearson's chi squared of the choices of each node among the first samples of a class."""
    grammar = Grammar(v=8, m=4, L=3, seed=2)
    choices = grammar.derivations(8 * torch.arange(4000)).choices
    counts = torch.nn.functional.one_hot(choices).sum(0).double()
    chi2 = ((counts - 1000) ** 2 / 1000).sum(1)
    assert chi2.max() < 16.3  # 0.1 % with three degrees of freedom
    pairs = choices[:, 0] * 4 + choices[:, 6]
    counts = pairs.bincount(minlength=16).double()
    assert ((counts - 250) ** 2 / 250).sum() < 37.7


def test_more_derivations_than_numbers():
    grammar = Grammar(v=16, m=8, L=5, seed=1)
    assert grammar.m**grammar.nodes > 1 << 62
    large = grammar.derivations(torch.tensor([3, (1 << 61) + 3, 11]))
    assert len(large.choices.unique(dim=0)) == 3
    leaves = grammar.symbols(grammar.derivations(torch.arange(500)))
    assert torch.equal(parsed(grammar, leaves), torch.arange(500) % 8)
    assert RandomHierarchy(16, 8, 5, samples=10, test_samples=5).inputs.shape == (10, 32, 16)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 1000, 65_537])
def test_permutations(size):
    image = _permuted(torch.arange(size), size, key=12345)
    assert torch.equal(image.sort().values, torch.arange(size))


def test_synonyms():
    """Exactly the productions of one level differ, all of them, and the class is the same."""
    grammar = Grammar(v=8, m=4, L=3, seed=6)
    original = grammar.derivations(torch.arange(400))
    nodes = {3: slice(0, 1), 2: slice(1, 3), 1: slice(3, 7)}
    for level, place in nodes.items():
        changed = grammar.exchanged(original, level)
        differs = changed.choices != original.choices
        assert differs[:, place].all() and differs.sum() == differs[:, place].sum()
        leaves = grammar.symbols(changed)
        assert torch.equal(parsed(grammar, leaves), original.classes)
        assert (leaves != grammar.symbols(original)).any(1).all()
        shift = (changed.choices - original.choices)[:, place] % 4
        assert 0.28 < (shift == 2).double().mean() < 0.39
        assert not torch.equal(changed.choices, grammar.exchanged(original, level, step=1).choices)


def test_the_encoding():
    data = RandomHierarchy(v=5, m=3, L=2, samples=100, test_samples=20)
    assert torch.allclose(data.inputs.sum(-1), torch.zeros(()), atol=1e-5)
    assert torch.allclose(data.inputs.square().sum((1, 2)), torch.tensor(20.0), atol=1e-4)
    grammar = data.grammar
    leaves = grammar.symbols(grammar.derivations(torch.arange(100)))
    assert torch.equal(data.inputs.argmax(-1), leaves)
    assert torch.equal(data.targets, parsed(grammar, leaves))
    held_out = grammar.symbols(data.test_derivations)
    assert torch.equal(data.test_inputs.argmax(-1), held_out)
    both = torch.cat([leaves, held_out])
    assert len(both.unique(dim=0)) == len(both)


def test_misuse():
    with pytest.raises(UsageError, match="m = 5: must be at most 4, the 16 tuples shared by 4"):
        Grammar(v=4, m=5, L=2, n_c=3)
    with pytest.raises(UsageError, match="samples = 60: must leave 10 of the 64 different ones"):
        RandomHierarchy(v=4, m=2, L=2, n_c=8, samples=60, test_samples=10)
    with pytest.raises(UsageError, match="v\\^s"):
        Grammar(v=32, m=2, L=2, s=6)
    with pytest.raises(UsageError, match="level = 4: must be from 1 to 3"):
        grammar = Grammar(8, 4, 3)
        grammar.exchanged(grammar.derivations(torch.arange(3)), 4)
    with pytest.raises(UsageError, match="indices"):
        Grammar(4, 2, 2).derivations(torch.tensor([64]))


def test_a_tree_of_polynomials_by_hand():
    data = SparseCompositional(L=2, s=2, samples=5, test_samples=3, seed=1)
    (a, b, c), (d, e, f) = data.coefficients.tolist()
    for x, label in zip(data.inputs, data.targets, strict=True):
        p, q, r, t = x.tolist()
        left, right = a * p + b * q + c * p * q, a * r + b * t + c * r * t
        root = d * left + e * right + f * left * right
        assert label == (root > 0)
        assert data.root(x[None]).item() == pytest.approx(root, rel=1e-5)


def test_every_level_has_unit_variance():
    data = SparseCompositional(L=2, s=3, samples=40_000, test_samples=1)
    root = data.root(data.inputs)
    assert abs(root.mean()) < 0.02 and root.square().mean() == pytest.approx(1, abs=0.06)
    assert torch.equal(
        SparseCompositional(L=2, s=3, samples=100, test_samples=1).inputs, data.inputs[:100]
    )
    with pytest.raises(UsageError, match="s = 1"):
        SparseCompositional(L=2, s=1)
