"""The power spectrum of a series that is never stored, by overlapping segments."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import require

__all__ = ["PowerSpectrum"]

# Segments that overlap by half under a Hann window have periodograms correlated by 1/36.
_OVERLAP = 1 + 2 / 36


class PowerSpectrum:
    r"""The one-sided power spectral density of a series, one for each replica.

    The series is cut into segments of S samples that overlap by half; each loses its mean, gets a
    Hann window w and a Fourier transform, and

        S(f) = 2 dt |sum_n w_n x_n e^(-2 pi i f n dt)|^2 / sum_n w_n^2,   f = k / (S dt),

    without the 2 at f = 0 and at f = 1/(2 dt), is averaged over the segments. Its integral over f
    is the variance. Slow motion beyond a segment is cut off, and the two lowest frequencies
    suffer from the window and the lost mean.

    Cost: a transform of R series of S samples every S/2 samples; memory, 2 S R numbers.

    Args:
        shape: of one value, for example (R,).
        segment: S, even, at least 4.
        state: tensors of an earlier one, to go on from.

    Attributes:
        state: the tensors that it consists of.

    Source: Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70.
    """

    def __init__(
        self, shape: tuple[int, ...], segment: int = 1024, state: dict[str, Tensor] | None = None
    ) -> None:
        even = segment >= 4 and segment % 2 == 0
        require(even, "segment", segment, "must be even and at least 4")
        self.segment = segment
        self.state = state or {
            "tail": torch.zeros(segment, *shape, dtype=torch.float64),
            "filled": torch.tensor(0),
            "segments": torch.tensor(0),
            "power": torch.zeros(segment // 2 + 1, *shape, dtype=torch.float64),
            "squares": torch.zeros(segment // 2 + 1, *shape, dtype=torch.float64),
        }

    def add(self, values: Tensor) -> None:
        """Take in the next values of the series, shape (n, …), in portions of any size."""
        tail, start = self.state["tail"], 0
        while start < len(values):
            filled = int(self.state["filled"])
            taken = min(self.segment - filled, len(values) - start)
            tail[filled : filled + taken] = values[start : start + taken]
            self.state["filled"] += taken
            start += taken
            if filled + taken == self.segment:
                self._transform(tail)
                half = self.segment // 2
                tail[:half] = tail[half:].clone()
                self.state["filled"].fill_(half)

    def _transform(self, x: Tensor) -> None:
        window = torch.hann_window(self.segment, dtype=torch.float64)
        scaled = (window / window.square().sum().sqrt()).view(-1, *[1] * (x.ndim - 1))
        power = torch.fft.rfft((x - x.mean(0)) * scaled, dim=0).abs().square()
        power[1:-1] *= 2
        self.state["segments"] += 1
        d = power - self.state["power"]
        self.state["power"] += d / self.state["segments"]
        self.state["squares"] += d * (power - self.state["power"])

    def merge(self, other: PowerSpectrum) -> None:
        """Add the segments of another series, or of a later stretch of this one.

        No segment reaches from one into the other, and the unfinished one of ``other`` is left out.
        """
        size = other.segment
        require(size == self.segment, "other.segment", size, f"must be segment = {self.segment}")
        n, more = self.state["segments"].double(), other.state["segments"].double()
        weight = more / (n + more).clamp(min=1)
        d = other.state["power"] - self.state["power"]
        self.state["squares"] += other.state["squares"] + d**2 * n * weight
        self.state["power"] += d * weight
        self.state["segments"] += other.state["segments"]

    def frequencies(self, time_step: float = 1.0) -> Tensor:
        """Return f, shape (S/2 + 1,), in cycles a time unit."""
        return torch.arange(self.segment // 2 + 1, dtype=torch.float64) / self.segment / time_step

    def density(self, time_step: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return S(f) and its standard error from the scatter of segments, (S/2 + 1, …).

        nan before the first segment is complete; the error takes two, and segments that are
        longer than the correlations.
        """
        K = int(self.state["segments"])
        if K == 0:
            unknown = torch.full_like(self.state["power"], torch.nan)
            return unknown, unknown
        squares = self.state["squares"] / (K - 1) if K > 1 else self.state["power"] * torch.nan
        return time_step * self.state["power"], time_step * (_OVERLAP * squares / K).sqrt()
