"""The contract refuses energies that break it."""

import pytest
import torch

from lightning_landscape.energies import Quadratic
from lightning_landscape.testing.energy import EnergyContract


class WrongGradient(Quadratic):
    def forward(self, batch=None):
        E = super().forward()
        return 1.01 * E - 0.01 * E.detach()


class WrongCurvature(Quadratic):
    def forward(self, batch=None):
        return super().forward() + (self.x**3 * self.x.detach()).sum(1)


class CoupledReplicas(Quadratic):
    def forward(self, batch=None):
        return super().forward() + 1e-6 * self.x.sum()


class GlobalRandomness(Quadratic):
    def forward(self, batch=None):
        return super().forward() * (1 + 1e-3 * torch.rand(()))


class HiddenState(Quadratic):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.offset = torch.zeros(())

    def load_configuration(self, x):
        super().load_configuration(x)
        self.offset = self.offset + x.sum()

    def forward(self, batch=None):
        return super().forward() + self.offset


class Scalar(Quadratic):
    def forward(self, batch=None):
        return super().forward().sum()


class SinglePrecision(Quadratic):
    def forward(self, batch=None):
        return super().forward().float().double()


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (WrongGradient, "test_gradient_against_finite_differences"),
        (WrongCurvature, "test_hessian_vector_product_against_finite_differences"),
        (CoupledReplicas, "test_replicas_are_independent"),
        (GlobalRandomness, "test_same_arguments_give_the_same_energy"),
        (HiddenState, "test_state_dict_holds_all_that_moves"),
        (HiddenState, "test_configuration_is_a_copy_that_loads_back"),
        (Scalar, "test_replica_axis_comes_first"),
        (SinglePrecision, "test_single_and_double_precision_agree"),
    ],
)
def test_contract_catches(broken, caught_by):
    class Contract(EnergyContract):
        def make(self, replicas=3, dtype="float64"):
            return broken([0.5, 1.0, 2.0], replicas=replicas, dtype=dtype)

    test = getattr(Contract(), caught_by)
    arguments = {"replicas": 3} if "axis" in caught_by else {}
    with pytest.raises(AssertionError):
        test(**arguments)
