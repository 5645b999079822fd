"""Data with a hierarchy, which a deep network can exploit and a kernel cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lightning_landscape.data.labelled_data import LabelledData
from lightning_landscape.errors import require, require_whole
from lightning_landscape.philox.tensors import philox
from lightning_landscape.rng import Stream

__all__ = ["Derivations", "Grammar", "RandomHierarchy"]

_MOST_TUPLES = 1 << 24  # s-tuples of symbols, of which a permutation is kept for a moment
_MOST_NUMBERED = 1 << 62  # derivations of a class that an int64 numbers
_ROUNDS = 8


@dataclass(frozen=True)
class Derivations:
    """How P samples were produced from their classes.

    Attributes:
        classes: shape (P,), int64.
        choices: which of the m productions each node has, shape (P, nodes), int64; the root first,
            then level by level, from left to right.
    """

    classes: Tensor
    choices: Tensor


@dataclass(frozen=True)
class Grammar:
    """The production rules of a random hierarchy model.

    A symbol of level l has m productions, its synonyms: s-tuples of the v symbols of level l - 1.
    Level L holds the n_c classes, level 0 the d = s^L leaves. All productions of a level are
    distinct, drawn without replacement from the v^s tuples, so that the leaves determine the class.

    A class has m^nodes derivations, nodes = (s^L - 1) / (s - 1), and the model
    P_max = n_c m^nodes samples. Networks that learn the synonyms need about P* = n_c m^L of them.

    Source: Cagnetta, Petrini, Tomasini, Favero & Wyart 2024, Phys. Rev. X 14, 031001,
    arXiv:2307.02129.

    Args:
        v: the number of symbols of every level below the classes.
        m: synonyms of a symbol.
        L: levels of productions.
        s: symbols in a production.
        n_c: classes.
        seed: of the rules and of what is drawn.

    Raises:
        UsageError: a number is out of range, or there are fewer than m max(v, n_c) tuples.

    >>> grammar = Grammar(v=8, m=4, L=3)
    >>> grammar.leaves, grammar.size, grammar.characteristic_size
    (8, 131072, 512)
    """

    v: int
    m: int
    L: int
    s: int = 2
    n_c: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("v", 2), ("m", 1), ("L", 1), ("s", 2), ("n_c", 2)):
            require_whole(name, getattr(self, name), least)
        tuples, parents = self.v**self.s, max(self.n_c, self.v if self.L > 1 else 0)
        fits = f"must be at most {tuples // parents}, the {tuples} tuples shared by {parents}"
        require(self.m * parents <= tuples, "m", self.m, f"{fits} symbols", "lower m, or raise v")
        require(tuples <= _MOST_TUPLES, "v^s", tuples, f"must be at most {_MOST_TUPLES}", "lower s")

    @property
    def leaves(self) -> int:
        """The number d = s^L of leaves of a sample."""
        return self.s**self.L

    @property
    def nodes(self) -> int:
        """The number of productions in a derivation."""
        return (self.leaves - 1) // (self.s - 1)

    @property
    def size(self) -> int:
        """The number P_max of different samples."""
        return self.n_c * self.m**self.nodes

    @property
    def characteristic_size(self) -> int:
        """The number P* = n_c m^L of training samples that a deep network needs."""
        return self.n_c * self.m**self.L

    @cached_property
    def rules(self) -> dict[int, Tensor]:
        """The productions by level l = 1, …, L of the parents: shape (parents, m, s), int64."""
        return {l: self._rules(l) for l in range(1, self.L + 1)}

    def _rules(self, level: int) -> Tensor:
        parents = self.n_c if level == self.L else self.v
        order = Stream(self.seed, "production rules").permutation(self.v**self.s, step=level)
        powers = self.v ** torch.arange(self.s)
        return (order[: parents * self.m, None] // powers % self.v).view(parents, self.m, self.s)

    def derivations(self, indices: Tensor) -> Derivations:
        """Return the derivations number ``indices``, shape (P,) of int64, 0 … P_max - 1.

        Number k has the class k mod n_c and is a function of (seed, k) alone. All P_max of them
        differ: within a class they are a random permutation, by a Feistel network whose round
        function is Philox. Where m^nodes exceeds 2^62 every choice is drawn independently instead,
        and no two are ever the same in practice.

        Raises:
            UsageError: an index is not in 0 … P_max - 1.
        """
        inside = len(indices) == 0 or (int(indices.min()) >= 0 and int(indices.max()) < self.size)
        required = f"must be indices in 0 … {self.size - 1}"
        require(inside, "indices", "given", required, "draw fewer samples, or raise m or L")
        classes, number = indices % self.n_c, indices // self.n_c
        stream, each = Stream(self.seed, "derivations"), self.m**self.nodes
        if each > _MOST_NUMBERED:
            return Derivations(classes, self._independent(indices, stream.key(0)))
        for c in range(self.n_c):
            of_class = classes == c
            number[of_class] = _permuted(number[of_class], each, stream.key(c))
        powers = self.m ** torch.arange(self.nodes)
        return Derivations(classes, number[:, None] // powers % self.m)

    def held_out(self, samples: int) -> Derivations:
        """Return the derivations of the last samples, which `RandomHierarchy` holds out."""
        last = min(self.size, _MOST_NUMBERED)
        return self.derivations(last - 1 - torch.arange(samples))

    def _independent(self, indices: Tensor, key: int) -> Tensor:
        blocks = torch.arange(-(-self.nodes // 4))
        low, high = indices[:, None] & 0xFFFFFFFF, indices[:, None] >> 32
        words = philox((low, high, blocks, 0), key)
        return (torch.stack(words, -1).flatten(1)[:, : self.nodes] * self.m) >> 32

    def symbols(self, derivations: Derivations) -> Tensor:
        """Return the leaves of samples, symbols 0 … v - 1, shape (P, d), int64."""
        symbols, done = derivations.classes[:, None], 0
        for level in range(self.L, 0, -1):
            count = symbols.shape[1]
            choices = derivations.choices[:, done : done + count]
            symbols, done = self.rules[level][symbols, choices].flatten(1), done + count
        return symbols

    def exchanged(self, derivations: Derivations, level: int, step: int = 0) -> Derivations:
        """Return derivations in which every production of ``level`` is another synonym.

        The other productions stay. Classes stay, by construction.

        Args:
            derivations: of P samples.
            level: of the parents of the exchanged productions, 1 … L.
            step: tells independent draws.

        Raises:
            UsageError: there is no such level, or no synonym.
        """
        require(1 <= level <= self.L, "level", level, f"must be from 1 to {self.L}")
        require(self.m >= 2, "m", self.m, "must be at least 2, for there to be another synonym")
        count = self.s ** (self.L - level)
        first = (count - 1) // (self.s - 1)
        choices = derivations.choices.clone()
        part = choices[:, first : first + count]
        stream = Stream(self.seed, f"synonyms of level {level}")
        part += 1 + stream.integers(self.m - 1, tuple(part.shape), step)
        part %= self.m
        return Derivations(derivations.classes, choices)

    def encoded(self, symbols: Tensor) -> Tensor:
        """Return symbols (P, d) one-hot and standardized, float32 of shape (P, d, v).

        x = (v e - 1) / sqrt(v - 1), which for uniform symbols has mean 0 and variance 1 in every
        component, so that |x|^2 = d v. Memory: 4 d v bytes a sample, and 8 d v for a moment.
        """
        one_hot = torch.nn.functional.one_hot(symbols, self.v).float()
        return (self.v * one_hot - 1) / math.sqrt(self.v - 1)


class RandomHierarchy(LabelledData):
    """Samples of the random hierarchy model: classes spelled in synonyms of synonyms.

    See `Grammar` for the model. Sample mu is a function of (seed, mu), so that a smaller training
    set is the beginning of a larger one. Test samples are the last ones, in the same order for any
    number of training samples; no sample occurs twice. Samples have shape (d, v): each leaf
    one-hot and standardized, |x|^2 = d v.

    Args:
        v: symbols of every level below the classes.
        m: synonyms of a symbol.
        L: levels; d = s^L leaves.
        s: symbols in a production.
        n_c: classes.
        samples: P.
        test_samples: how many are held out.
        seed: of the rules and the samples.

    Attributes:
        grammar: the rules.
        test_derivations: how the held-out samples were produced.

    Raises:
        UsageError: a number is out of range, or there are not so many samples.

    Source: Cagnetta et al. 2024, arXiv:2307.02129.

    >>> data = RandomHierarchy(v=8, m=4, L=3, samples=512)
    >>> data.inputs.shape, data.targets[:9].tolist(), round(data.inputs[0].norm().item() ** 2, 3)
    (torch.Size([512, 8, 8]), [0, 1, 2, 3, 4, 5, 6, 7, 0], 64.0)
    """

    def __init__(
        self,
        v: int = 8,
        m: int = 4,
        L: int = 3,
        s: int = 2,
        n_c: int = 8,
        samples: int = 1024,
        test_samples: int = 1024,
        seed: int = 0,
    ) -> None:
        require_whole("samples", samples)
        require_whole("test_samples", test_samples)
        self.grammar = grammar = Grammar(v, m, L, s, n_c, seed)
        size = f"must leave {test_samples} of the {grammar.size} different ones for testing"
        require(samples + test_samples <= grammar.size, "samples", samples, size, "raise m or L")
        train = grammar.derivations(torch.arange(samples))
        self.test_derivations = test = grammar.held_out(test_samples)
        inputs, test_inputs = (grammar.encoded(grammar.symbols(each)) for each in (train, test))
        super().__init__(inputs, train.classes, test_inputs, test.classes, classes=n_c)


def _permuted(index: Tensor, size: int, key: int) -> Tensor:
    """Return the images of 0 <= index < size under a random permutation of 0 … size - 1.

    A balanced Feistel network permutes the numbers of 2 b bits, the fewest that hold ``size``; what
    lands beyond is permuted again, until it is inside.

    Source: Black & Rogaway 2002, "Ciphers with arbitrary finite domains".
    """
    bits = max(1, (size - 1).bit_length() + 1 >> 1)
    mask = (1 << bits) - 1

    def permute(x: Tensor) -> Tensor:
        left, right = x >> bits, x & mask
        for r in range(_ROUNDS):
            left, right = right, left ^ (philox((right, r, 0, 0), key)[0] & mask)
        return left << bits | right

    image = permute(index)
    while bool((outside := image >= size).any()):
        image[outside] = permute(image[outside])
    return image
