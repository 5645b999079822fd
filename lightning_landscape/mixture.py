"""The mixture {p: a_p} of a spherical glass, f(q) = sum_p a_p q^p: its check and its encoding."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from lightning_landscape.errors import require

__all__ = ["checked_mixture", "mixture_to_json"]


def checked_mixture(mixture: Mapping[int, float]) -> dict[int, float]:
    """Return the mixture by increasing p.

    Raises:
        UsageError: there is no term, a p is not an integer >= 2, or an a_p is not positive.

    >>> checked_mixture({4: 1, 3: 0.5})
    {3: 0.5, 4: 1.0}
    """
    require(len(mixture) > 0, "mixture", dict(mixture), "needs a term such as {3: 0.5}")
    for p, a in mixture.items():
        require(isinstance(p, int) and p >= 2, "p", p, "must be an integer of at least 2")
        require(0 < a < math.inf, f"mixture[{p}]", a, "must be a positive number")
    return {p: float(mixture[p]) for p in sorted(mixture)}


def mixture_to_json(mixture: Mapping[int, float]) -> str:
    """Return the mixture as JSON, for the attributes of a record.

    >>> mixture_to_json({3: 0.5})
    '{"3": 0.5}'
    """
    return json.dumps({str(p): a for p, a in checked_mixture(mixture).items()})
