"""The contract holds for both schemes and for a dynamics written outside of the package."""

import pytest
import torch

from lightning_landscape.dynamics import Langevin, LeimkuhlerMatthews
from lightning_landscape.errors import require
from lightning_landscape.rng import Stream
from lightning_landscape.testing import DynamicsContract


class TestLangevin(DynamicsContract):
    def make(self, params, lr, temperature=0.0, seed=0):
        return Langevin(params, lr, temperature, seed)

    def variance(self, lr, temperature, curvature):
        return temperature / (curvature * (1 - lr * curvature / 2))


class TestLeimkuhlerMatthews(DynamicsContract):
    def make(self, params, lr, temperature=0.0, seed=0):
        return LeimkuhlerMatthews(params, lr, temperature, seed)


class Underdamped(torch.optim.Optimizer):
    """dv = -grad E dt - v dt + sqrt(2 T) dW, dx = v dt: kick, thermostat, drift, dt = sqrt(lr).

    Any torch optimizer can keep the contract; this one has a momentum in its state.
    """

    def __init__(self, params, lr, temperature=0.0, seed=0):
        self.temperature = torch.as_tensor(temperature, dtype=torch.float32)
        require(lr > 0, "lr", lr, "must be > 0")
        require(bool((self.temperature >= 0).all()), "temperature", temperature, "must be >= 0")
        self.stream = Stream(seed, "underdamped")
        super().__init__(params, {"lr": lr})
        sizes = {p.shape[0] for p in self.param_groups[0]["params"]} | {1}
        fits = self.temperature.numel() in sizes
        require(fits, "temperature", temperature, "must be one number or one per replica")

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        (group,) = self.param_groups
        dt = group["lr"] ** 0.5
        keep = torch.exp(torch.tensor(-dt))
        for k, p in enumerate(group["params"]):
            state = self.state[p]
            if not state:
                state.update(v=torch.zeros_like(p), step=0)
            T = self.temperature.view(-1, *[1] * (p.dim() - 1))
            xi = self.stream.normal_(torch.empty_like(p), 1000 * state["step"] + k)
            state["v"].sub_(dt * p.grad).mul_(keep).add_((T * (1 - keep**2)).sqrt() * xi)
            p.add_(dt * state["v"])
            state["step"] += 1
        return loss


class TestUnderdamped(DynamicsContract):
    def make(self, params, lr, temperature=0.0, seed=0):
        return Underdamped(params, lr, temperature, seed)

    def variance(self, lr, temperature, curvature):
        """The Lyapunov equation S = A S A^T + B of the linear map (x, v) -> A (x, v) + noise."""
        dt, keep = lr**0.5, torch.exp(torch.tensor(-(lr**0.5))).item()
        A = torch.tensor([[1 - keep * lr * curvature, dt * keep], [-keep * dt * curvature, keep]])
        noise = torch.tensor([[lr, dt], [dt, 1.0]]) * temperature * (1 - keep**2)
        S = torch.linalg.solve(torch.eye(4) - torch.kron(A, A), noise.flatten())
        return S[0].item()


class Biased(Langevin):
    """The commonest mistake: the variance lr T instead of 2 lr T."""

    def amplitude(self, lr, temperature):
        return (lr * temperature) ** 0.5


def test_the_contract_notices_a_wrong_factor():
    class Contract(TestLangevin):
        def make(self, params, lr, temperature=0.0, seed=0):
            return Biased(params, lr, temperature, seed)

    with pytest.raises(AssertionError):
        Contract().test_it_samples_a_harmonic_well(4.0, 50)
