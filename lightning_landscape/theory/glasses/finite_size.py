r"""What finite N and a finite step add to the exact dynamics of the spherical 3-spin glass.

A quench from infinite temperature is shifted from the Cugliandolo-Kurchan curve X by

    X(N, dt) - X = b_1 / N + b_2 / N^2 + c_1 dt + c_2 dt^2

for X = E(t), C(tw + t, tw) and chi(tw + t, tw) of the isotropic Gaussian model. The b were fitted
to simulations at several N, of which the exact solution at the same step was subtracted; the c are
those of that solution (`finite_step`), for each integrator. The mean over noise and start in one
sample of the couplings scatters about the mean over samples with the variance

    Var_J X = d / N^2,

which is in no error bar of replicas that share the couplings. All coefficients are functions of the
times, tabulated in ``finite_size.json`` beside this file, which names the command that made it;
docs/finite_size.md has the evidence for both laws.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["TABLE", "Shifts", "shifts_of"]

Array = NDArray[np.float64]

TABLE = Path(__file__).with_name("finite_size.json")

_SAME_TIME = 0.05  # relative distance at which a waiting time counts as a tabulated one
_LONGEST_STEP = 0.05


class Shifts(NamedTuple):
    """The shifts of one size, step and integrator at the tabulated times.

    Attributes:
        t: the times, increasing.
        tw: the waiting times.
        values: by E, C and chi: the shifts, shape (t,) or (tw, t), nan where not known.
        errors: their standard errors, of the same shapes.
        source: where they are from, in a few words.
    """

    t: Array
    tw: Array
    values: dict[str, Array]
    errors: dict[str, Array]
    source: str

    def at(self, name: str, t: Any, tw: float | None = None) -> tuple[Array, Array]:
        """Return shift and error at the times t, linear in log t between those of the table.

        Args:
            name: E, C or chi.
            t: within the table; nan comes back outside.
            tw: of C and chi, within 5 % of a tabulated waiting time.
        """
        values, errors = self.values[name], self.errors[name]
        if tw is not None:
            k = int(np.abs(self.tw - tw).argmin())
            if abs(tw / self.tw[k] - 1) > _SAME_TIME:
                return np.full(np.shape(t), np.nan), np.full(np.shape(t), np.nan)
            values, errors = values[k], errors[k]
        known = np.isfinite(values)
        place, nodes = np.log(t), np.log(self.t[known])
        read = [
            np.interp(place, nodes, y[known], left=np.nan, right=np.nan) for y in (values, errors)
        ]
        return read[0], read[1]


def shifts_of(
    mixture: dict[int, float],
    temperature: float,
    N: int,
    time_step: float,
    scheme: str,
    one_sample: bool = False,
) -> Shifts | None:
    """Return the shifts of a quench from a random start, or None outside of what is tabulated.

    Args:
        mixture: {p: a_p}.
        temperature: T after the quench.
        N: the number of spins; at least the smallest that was fitted.
        time_step: dt, at most 0.05.
        scheme: the name of the dynamics, ``Langevin`` or ``LeimkuhlerMatthews``.
        one_sample: whether all replicas share one sample of the couplings, whose scatter Var_J then
            adds to the squared errors.

    >>> shifts_of({3: 0.5}, 0.3, 16, 0.02, "Langevin") is None
    True
    """
    table = _table()
    model = {int(p): a for p, a in table["mixture"].items()}
    covered = (
        mixture == model
        and math.isclose(temperature, table["temperature"], rel_tol=1e-6)
        and min(table["sizes"]) <= N
        and time_step <= _LONGEST_STEP
        and scheme in table["step"]
    )
    if not covered:
        return None
    values, errors = {}, {}
    powers = np.array([float(N) ** -w for w in table["exponents"]])
    for name, size in table["size"].items():
        b, covariance = _array(size["coefficients"]), _array(size["covariance"])
        c = _array(table["step"][scheme][name])
        of_step = c[0] * time_step + c[1] * time_step**2
        values[name] = np.tensordot(powers, b, 1) + of_step
        variance = np.einsum("i,ij...,j->...", powers, covariance, powers)
        of_sample = _array(table["disorder"][name]) / N**2 if one_sample else 0.0
        errors[name] = np.sqrt(variance + of_sample)
    return Shifts(_array(table["t"]), _array(table["tw"]), values, errors, table["source"])


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(TABLE.read_text())
    return table


def _array(values: Any) -> Array:
    return np.array(values, dtype=float)
