"""A series of energies, one a step, of which everything is kept but the series."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.observables.accumulators.autocorrelation import Blocking
from lightning_landscape.observables.accumulators.histogram import GrowingHistogram
from lightning_landscape.observables.accumulators.moments import (
    BlockMoments,
    excess_kurtosis,
    mean,
    skewness,
    variance,
)
from lightning_landscape.observables.accumulators.power_spectrum import PowerSpectrum

__all__ = ["EnergySeries"]

# Values are worked on so many at a time: a transform or a merge costs the same for one or for all.
_CHUNK = 256


class EnergySeries:
    """Moments, autocorrelation time, power spectrum and histogram of U, for R replicas.

    Values come in portions of any size; the results do not depend on how they are cut. Until 256
    have come they wait, and of those that wait at the end only the moments are counted. A portion
    of 256 in which a value is not finite is left out and counted as lost.

    Memory: about 4000 numbers a replica with segments of 1024. Cost: 3 us a step for one replica.

    Args:
        units: what U is divided by in the histogram, (R,): T, or 1 where T = 0.
        segment: of the power spectrum, in steps, even.
        state: tensors of an earlier one, to go on from; they are changed in place.

    Attributes:
        state: the tensors that it consists of, by name.
    """

    def __init__(
        self, units: Tensor, segment: int = 1024, state: dict[str, Tensor] | None = None
    ) -> None:
        R = len(units)
        require(R >= 1, "len(units)", R, "must be the number of replicas")
        parts = _split(state or {})
        self.blocks = BlockMoments((R,), _CHUNK, state=parts.get("blocks"))
        self.blocking = Blocking((R,), parts.get("blocking"))
        self.spectrum = PowerSpectrum((R,), segment, parts.get("spectrum"))
        self.histogram = GrowingHistogram(R, state=parts.get("histogram"))
        self.own = parts.get("own") or {
            "units": units.double().cpu().clone(),
            "waiting": torch.zeros(_CHUNK, R, dtype=torch.float64),
            "filled": torch.tensor(0),
            "lost": torch.tensor(0),
            "least": torch.full((R,), torch.inf, dtype=torch.float64),
        }
        named = {
            "blocks": self.blocks.state,
            "blocking": self.blocking.state,
            "spectrum": self.spectrum.state,
            "histogram": self.histogram.state,
            "own": self.own,
        }
        self.state = {f"{a}.{b}": value for a, part in named.items() for b, value in part.items()}

    def add(self, values: Tensor) -> None:
        """Take in the next values, shape (n, R)."""
        start, waiting = 0, self.own["waiting"]
        while start < len(values):
            filled = int(self.own["filled"])
            taken = min(_CHUNK - filled, len(values) - start)
            waiting[filled : filled + taken] = values[start : start + taken]
            start += taken
            self.own["filled"].fill_((filled + taken) % _CHUNK)
            if filled + taken == _CHUNK:
                self._process(waiting)

    def _process(self, chunk: Tensor) -> None:
        if not chunk.isfinite().all():
            self.own["lost"] += _CHUNK
            return
        self.own["least"].copy_(torch.minimum(self.own["least"], chunk.amin(0)))
        self.blocks.add(chunk)
        self.blocking.add(chunk)
        self.spectrum.add(chunk)
        self.histogram.add(chunk / self.own["units"])

    def results(self) -> dict[str, Tensor]:
        """Return what is known of the series, float64, each (R,) but for the last six.

        ``samples``, ``lost``; ``mean``, ``variance``, ``skewness``, ``kurtosis`` (excess), each
        with ``_error`` from leaving out blocks, the mean's from the blocking hierarchy; ``least``;
        ``tau`` in steps with ``tau_error``; ``drift`` from the first to the last block with
        ``drift_error``; ``block_means`` (B, R) and ``block_length``; ``power`` and ``power_error``
        (F, R) for a step of 1; ``counts`` (bins, R) and ``edges`` of U over its unit.
        """
        waiting = self.own["waiting"][: int(self.own["filled"])]
        whole = self.blocks.total(waiting)
        tau, tau_error = self.blocking.tau()
        drift, drift_error = self.blocks.drift()
        power, power_error = self.spectrum.density()
        least = waiting.amin(0) if len(waiting) else self.own["least"]
        found = {
            "samples": whole[0],
            "lost": self.own["lost"].double().expand_as(tau),
            "mean": mean(whole),
            "mean_error": self.blocking.error(),
            "least": torch.minimum(self.own["least"], least),
            "tau": tau,
            "tau_error": tau_error,
            "drift": drift,
            "drift_error": drift_error,
            "block_means": self.blocks.complete[1],
            "block_length": torch.tensor(self.blocks.length),
            "power": power,
            "power_error": power_error,
            "counts": self.histogram.counts,
            "edges": self.histogram.edges(),
        }
        shapes = {"variance": variance, "skewness": skewness, "kurtosis": excess_kurtosis}
        for name, statistic in shapes.items():
            found |= {name: statistic(whole), f"{name}_error": self.blocks.error(statistic)}
        return found


def _split(state: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part, key = name.split(".")
        parts.setdefault(part, {})[key] = value
    return parts
