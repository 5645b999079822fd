"""Published numbers of stationary points, and lowest energies, of clusters and surfaces."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Published", "published"]


class Published(NamedTuple):
    """What is published of a landscape.

    Attributes:
        minima: how many, up to symmetry.
        transition_states: the same of index 1.
        lowest: the energy of the lowest minimum.
        source: of the numbers.
        source_of_lowest: of the energy.
    """

    minima: int
    transition_states: int
    lowest: float
    source: str
    source_of_lowest: str


_COUNTS = "Doye, Wales 2002"  # J. Chem. Phys. 116, 3777
_ENERGIES = "Wales, Doye 1997"  # cond-mat/9803344

_KNOWN = {
    ("LennardJones", 21): Published(4, 12, -16.505384, _COUNTS, _ENERGIES),
    ("LennardJones", 24): Published(8, 42, -19.821489, _COUNTS, _ENERGIES),
    ("LennardJones", 27): Published(21, 165, -24.113360, _COUNTS, _ENERGIES),
    ("LennardJones", 39): Published(1510, 28756, -44.326801, _COUNTS, _ENERGIES),
    ("MuellerBrown", 2): Published(3, 2, -146.69952, *2 * ("Müller, Brown 1979",)),
    ("SixHumpCamel", 2): Published(3, 4, -1.031628, *2 * ("Dixon, Szegö 1978",)),
}


def published(energy: str, N: int) -> Published | None:
    """Return what is published of the landscape of an energy with N degrees of freedom.

    Lennard-Jones clusters of 7, 8, 9 and 13 atoms, N = 3 n, and the surfaces of `energies`. The
    numbers for 13 atoms are those of the most complete search, not proven to be all.

    Source: Doye, Wales 2002, J. Chem. Phys. 116, 3777; Wales, Doye 1997, cond-mat/9803344; Müller,
    Brown 1979, Theor. Chim. Acta 53, 75; Dixon, Szegö 1978, Towards Global Optimisation 2.

    >>> published("LennardJones", 21).transition_states
    12
    """
    return _KNOWN.get((energy, N))
