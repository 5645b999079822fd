"""DynamicsContract: what a module requires of every dynamics that it steps and resumes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape.errors import UsageError
from lightning_landscape.replicas import flatten

__all__ = ["DynamicsContract"]

SHAPES = [(4, 3), (4, 2, 5)]  # two parameters of R = 4 replicas


def _start() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(5)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def _energy(params: list[nn.Parameter]) -> Tensor:
    """An anharmonic energy, bounded below, that couples the parameters of a replica; (R,)."""
    x = flatten(params)
    return 0.25 * x.pow(4).sum(1) + 0.5 * x.sum(1).square()


def _run(dynamics: Optimizer, params: list[nn.Parameter], steps: int) -> list[Tensor]:
    step: Any = dynamics.step  # torch types its return value as one number
    for _ in range(steps):
        step(partial(_energies, dynamics, params))
    return [p.detach().clone() for p in params]


def _energies(dynamics: Optimizer, params: list[nn.Parameter]) -> Tensor:
    """The closure passed to every step: returns the energies, (R,), and sets the gradients."""
    dynamics.zero_grad()
    energies = _energy(params)
    energies.sum().backward()
    return energies.detach()


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(x.equal(y) for x, y in zip(a, b, strict=True))


class DynamicsContract:
    """Subclass this in a test file and define `make`; pytest does the rest.

    ``make(params, lr, temperature, seed)`` returns a new optimizer with thermal noise. If the
    scheme does not sample a harmonic well exactly, define `variance` as well. As in
    `LandscapeModule`, every step receives a closure that returns the energies, (R,), and sets the
    gradients.
    """

    def make(
        self, params: Iterable[Tensor], lr: float, temperature: Any = 0.0, seed: int = 0
    ) -> Optimizer:
        """Return the dynamics."""
        raise NotImplementedError

    def variance(self, lr: float, temperature: float, curvature: float) -> float:
        """Return the stationary variance in a harmonic well; exp(-E/T) has T / curvature."""
        return temperature / curvature

    # determinism

    def test_the_noise_is_a_function_of_the_seed(self) -> None:
        """It neither depends on the global generator nor advances it; another seed differs."""
        ends = []
        for seed, of_torch in ((3, 1), (3, 2), (4, 1)):
            torch.manual_seed(of_torch)
            before, params = torch.get_rng_state(), _start()
            ends.append(_run(self.make(params, 0.01, 0.5, seed), params, 5))
            assert torch.get_rng_state().equal(before)
        assert _same(ends[0], ends[1])
        assert not _same(ends[0], ends[2])

    @pytest.mark.parametrize("stop", [0, 1, 6])
    def test_a_run_resumes_bit_for_bit(self, stop: int) -> None:
        """From any step, through a file that holds no code (``weights_only``)."""
        params = _start()
        whole = _run(self.make(params, 0.01, 0.5), params, 10)
        params, file = _start(), io.BytesIO()
        dynamics = self.make(params, 0.01, 0.5)
        torch.save((_run(dynamics, params, stop), dynamics.state_dict()), file)
        file.seek(0)
        configuration, state = torch.load(file, weights_only=True)
        params = [nn.Parameter(x) for x in configuration]
        dynamics = self.make(params, 0.01, 0.5)
        dynamics.load_state_dict(state)
        assert _same(_run(dynamics, params, 10 - stop), whole)

    # replicas

    def test_replicas_are_independent(self) -> None:
        """Perturbing one replica changes its trajectory, and no others."""
        params, disturbed = _start(), _start()
        with torch.no_grad():
            for p in disturbed:
                p[1] += 1.0
        a = _run(self.make(params, 0.01, 0.5), params, 5)
        b = _run(self.make(disturbed, 0.01, 0.5), disturbed, 5)
        for x, y in zip(a, b, strict=True):
            assert x[[0, 2, 3]].equal(y[[0, 2, 3]])
            assert not x[1].equal(y[1])

    def test_replicas_may_differ_in_temperature(self) -> None:
        """Replica r moves as in a run in which all have its temperature, up to rounding."""
        temperatures = [0.0, 0.1, 0.5, 2.0]
        params = _start()
        ladder = _run(self.make(params, 0.01, temperatures), params, 5)
        for r, temperature in enumerate(temperatures):
            params = _start()
            alone = _run(self.make(params, 0.01, temperature), params, 5)
            for x, y in zip(ladder, alone, strict=True):
                assert torch.allclose(x[r], y[r], rtol=1e-5, atol=1e-6)

    # physics

    def test_it_converges_to_a_minimum_at_zero_temperature(self) -> None:
        """At T = 0 the energy falls below 1e-3 of its initial value, whatever the seed."""
        params, other = _start(), _start()
        before = _energy(params)
        dynamics = self.make(params, 0.02, 0.0, 0)
        end = _run(dynamics, params, 20)
        assert _same(end, _run(self.make(other, 0.02, 0.0, 1), other, 20))
        for _ in range(40):
            if (_energy(params) < 1e-3 * before).all():
                return
            _run(dynamics, params, 50)
        pytest.fail("the energy is still above 1e-3 of its initial value after 2020 steps")

    @pytest.mark.parametrize(("curvature", "apart"), [(0.5, 100), (4.0, 50)])
    def test_it_samples_a_harmonic_well(self, curvature: float, apart: int) -> None:
        """<x^2> of 12500 coordinates at 4 distant times, within 4 standard errors (about 2.6 %)."""
        lr, temperature, times = 0.05, 0.3, 4
        x = nn.Parameter(torch.zeros(1250, 10))
        dynamics = self.make([x], lr, temperature)
        variances = []

        def energies() -> Tensor:
            x.grad = curvature * x.detach()
            return x.grad.mul(x.detach()).sum(1) / 2

        move: Any = dynamics.step
        for step in range((2 + times) * apart):
            move(energies)
            if step >= 2 * apart and (step + 1) % apart == 0:
                variances.append(x.detach().double().square().mean())
        exact = self.variance(lr, temperature, curvature)
        # at the smaller curvature 100 steps leave a correlation exp(-2.5) of x, exp(-5) of x^2
        error = exact * (2 / (x.numel() * times)) ** 0.5 * 1.01
        assert abs(torch.stack(variances).mean().item() - exact) < 4 * error

    # interface

    def test_a_closure_is_evaluated_with_gradients_and_returned(self) -> None:
        """Lightning passes a closure to every step."""
        params = _start()
        dynamics: Any = self.make(params, 0.01)
        expected = _energy(params).detach()
        assert torch.allclose(dynamics.step(partial(_energies, dynamics, params)), expected)
        assert (_energy(params) < expected).all()

    def test_invalid_settings_are_refused(self) -> None:
        """With a one-sentence `UsageError` that names the argument."""
        with pytest.raises(UsageError, match="temperature = -1"):
            self.make(_start(), 0.01, -1.0)
        with pytest.raises(UsageError, match=r"lr = -0\.01"):
            self.make(_start(), -0.01)
        with pytest.raises(UsageError, match="temperature"):
            self.make(_start(), 0.01, [0.1] * (SHAPES[0][0] + 1))
