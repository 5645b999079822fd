"""Whether the layers of a network tell synonyms apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.data.hierarchy import Derivations, Grammar
from lightning_landscape.errors import require

__all__ = ["sensitivity", "synonym_sensitivity"]


def sensitivity(z: Tensor, exchanged: Tensor) -> Tensor:
    r"""Return how much a representation changes, relative to how much samples differ.

    .. math:: S = \frac{\langle |z(x) - z(\tilde x)|^2\rangle_x}
                       {\langle |z(x) - z(x')|^2\rangle_{x \ne x'}}

    0 for a representation that ignores the exchange x -> x~, about 1 for one to which x~ is just
    another sample. The denominator is over all pairs, twice the sum of the variances.

    Args:
        z: representation of P samples, shape (R, F, P).
        exchanged: of the same samples after the exchange, same shape.

    Returns:
        Shape (R,); nan where all samples look the same.

    Source: Cagnetta et al. 2024, arXiv:2307.02129, section 4.

    >>> z = torch.tensor([[[0.0, 1.0, 2.0]]])
    >>> sensitivity(z, z + 1), sensitivity(z, z)
    (tensor([0.5000]), tensor([0.]))
    """
    require(z.shape[-1] >= 2, "samples", z.shape[-1], "must be at least 2")
    changes = (z - exchanged).square().sum(1).mean(-1)
    return changes / (2 * z.var(-1).sum(1))


@checked
def synonym_sensitivity(
    representations: Callable[[Tensor], Sequence[Tensor]],
    grammar: Grammar,
    derivations: Derivations,
    step: int = 0,
) -> Tensor:
    """Return the sensitivity of every layer to the exchange of the synonyms of every level.

    In a network that has learned the hierarchy the preactivations of the layers beyond the l-th
    are invariant to the synonyms of level l; one that has memorized its samples is sensitive to
    all of them.

    Args:
        representations: of samples (P, d, v), those of the layers, shape (R, F, P) each.
        grammar: the rules.
        derivations: of P samples.
        step: tells independent draws of the exchanges.

    Returns:
        Shape (layers, levels, R), the levels 1, …, L.

    Cost: L + 1 evaluations of the representations.
    """
    original = representations(grammar.encoded(grammar.symbols(derivations)))
    found = []
    for level in range(1, grammar.L + 1):
        changed = grammar.symbols(grammar.exchanged(derivations, level, step))
        pairs = zip(original, representations(grammar.encoded(changed)), strict=True)
        found.append(torch.stack([sensitivity(z, other) for z, other in pairs]))
    return torch.stack(found, dim=1)
