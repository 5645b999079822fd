"""The power spectrum of a series that is never stored, by overlapping segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lightning_landscape.errors import require
from lightning_landscape.observables.accumulators.accumulator import Accumulator, States

__all__ = ["PowerSpectrum", "Segments", "empty_segments"]

# Segments that overlap by half under a Hann window have periodograms correlated by 1/36.
_OVERLAP = 1 + 2 / 36


class Segments:
    """The mean and the scatter of the periodograms of segments, and the one that is being filled.

    Attributes:
        tail: the samples of the unfinished segment, (S, …).
        filled: how many there are.
        segments: the number of finished segments.
        power: the mean of their periodograms, (S/2 + 1, …).
        squares: the summed squared deviations from it, of the same shape.
    """

    def __init__(
        self, tail: Tensor, filled: Tensor, segments: Tensor, power: Tensor, squares: Tensor
    ) -> None:
        self.tail = tail
        self.filled = filled
        self.segments = segments
        self.power = power
        self.squares = squares

    def add(self, values: Tensor) -> None:
        """Take in the next values of the series, shape (n, …), in portions of any size."""
        tail, size, start = self.tail, len(self.tail), 0
        while start < len(values):
            filled = int(self.filled)
            taken = min(size - filled, len(values) - start)
            tail[filled : filled + taken] = values[start : start + taken]
            self.filled.add_(taken)
            start += taken
            if filled + taken == size:
                self._transform(tail)
                half = size // 2
                tail[:half] = tail[half:].clone()
                self.filled.fill_(half)

    def _transform(self, x: Tensor) -> None:
        window = torch.hann_window(len(x), dtype=x.dtype, device=x.device)
        scaled = (window / window.square().sum().sqrt()).view(-1, *[1] * (x.ndim - 1))
        power = torch.fft.rfft((x - x.mean(0)) * scaled, dim=0).abs().square()
        power[1:-1] *= 2
        self.segments.add_(1)
        d = power - self.power
        self.power.add_(d / self.segments)
        self.squares.add_(d * (power - self.power))

    def merge(self, other: Segments) -> None:
        """Add the segments of a later stretch of the series, or of another one like it.

        No segment reaches from one into the other, and the unfinished one of ``other`` is left out.
        """
        n, more = self.segments.double(), other.segments.double()
        weight = more / (n + more).clamp(min=1)
        d = other.power - self.power
        self.squares.add_(other.squares + d**2 * n * weight)
        self.power.add_(d * weight)
        self.segments.add_(other.segments)

    def frequencies(self, time_step: float = 1.0) -> Tensor:
        """Return f, shape (S/2 + 1,), in cycles per unit of time."""
        return torch.arange(len(self.power)).to(self.power) / len(self.tail) / time_step

    def density(self, time_step: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return S(f) and its standard error from the scatter of segments, (S/2 + 1, …).

        nan before the first segment is complete; the error needs two, and segments longer than
        the correlations.
        """
        K = int(self.segments)
        if K == 0:
            unknown = torch.full_like(self.power, torch.nan)
            return unknown, unknown
        squares = self.squares / (K - 1) if K > 1 else self.power * torch.nan
        return time_step * self.power, time_step * (_OVERLAP * squares / K).sqrt()


class PowerSpectrum(Accumulator, Segments):
    r"""The one-sided power spectral density of a series, one for each replica.

    The series is cut into segments of S samples that overlap by half; each loses its mean, is
    multiplied by a Hann window w and Fourier transformed, and

        S(f) = 2 dt |sum_n w_n x_n e^(-2 pi i f n dt)|^2 / sum_n w_n^2,   f = k / (S dt),

    without the 2 at f = 0 and at f = 1/(2 dt), is averaged over the segments. Its integral over f
    is the variance. Motion slower than a segment is cut off, and the two lowest frequencies
    suffer from the window and the subtracted mean.

    Cost: a transform of R series of S samples every S/2 samples; memory, 2 S R numbers.

    Args:
        shape: of one value: () for a number, (R,) for R replicas.
        segment: S, even, at least 4.
        state: the ``metric_state`` of an earlier one, to continue from; changed in place.

    Raises:
        UsageError: ``segment`` is out of range, or ``state`` does not fit.

    Source: Welch 1967, IEEE Trans. Audio Electroacoust. 15, 70.

    >>> spectrum = PowerSpectrum(segment=8)
    >>> spectrum.update(torch.tensor([1.0, -1.0] * 8))  # all power at f = 1/2
    >>> spectrum.density()[0].argmax().item(), spectrum.frequencies()[-1].item()
    (4, 0.5)
    """

    core: ClassVar[Callable[..., Segments]] = Segments

    def __init__(
        self, shape: tuple[int, ...] = (), segment: int = 1024, state: States | None = None
    ) -> None:
        even = segment >= 4 and segment % 2 == 0
        require(even, "segment", segment, "must be even and at least 4")
        super().__init__(empty_segments(shape, segment), state)

    @property
    def shape_of_values(self) -> tuple[int | None, ...]:
        """(n, …)."""
        return None, *self.tail.shape[1:]

    def compute(self) -> tuple[Tensor, Tensor]:
        """Return S(f) for a time step of 1, and its standard error, both (S/2 + 1, …)."""
        return self.density()


def empty_segments(shape: tuple[int, ...], segment: int) -> dict[str, Tensor]:
    """Return the tensors of `Segments` before the first value."""
    return {
        "tail": torch.zeros(segment, *shape, dtype=torch.float64),
        "filled": torch.tensor(0),
        "segments": torch.tensor(0),
        "power": torch.zeros(segment // 2 + 1, *shape, dtype=torch.float64),
        "squares": torch.zeros(segment // 2 + 1, *shape, dtype=torch.float64),
    }
