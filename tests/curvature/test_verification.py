"""What is certified is the Hessian: missing derivatives are refused, and named."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lightning_landscape.curvature import Budget, HessianOperator, StreamingOperator
from lightning_landscape.curvature.operators.base import CurvatureOperator
from lightning_landscape.curvature.summary import spectrum_summary
from lightning_landscape.errors import UsageError

X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))


class CubeWithoutSecondDerivative(torch.autograd.Function):
    """y = x^3 whose backward forgets that it depends on x."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x.detach() ** 2


class OnceDifferentiable(CubeWithoutSecondDerivative):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x**2


def network(activation, seed=0):
    torch.manual_seed(seed)
    first, second = nn.Linear(4, 5), nn.Linear(5, 1)
    module = nn.ModuleDict({"first": first, "second": second})
    return module, lambda: second(activation(first(X))).square().mean()


def operator_of(module, energy, **kwargs):
    names, parameters = zip(*module.named_parameters(), strict=True)
    return HessianOperator(energy, parameters, names=names, **kwargs)


@pytest.mark.parametrize(
    "activation", [torch.tanh, torch.relu, nn.functional.hardtanh, lambda x: x, torch.sin]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hessians_of_networks_are_verified(activation, dtype):
    for seed in range(5):
        module, _ = network(activation, seed)
        module, x = module.to(dtype), X.to(dtype)
        H = operator_of(
            module, lambda m=module, x=x: m["second"](activation(m["first"](x))).square().mean()
        )
        H.verify()
        assert H.products == 2


def test_verification_restores_the_parameters_bit_for_bit_and_leaves_no_gradient():
    module, energy = network(torch.tanh)
    before = [p.detach().clone() for p in module.parameters()]
    H = operator_of(module, energy)
    exact = H.dense()
    H.verify()
    assert all(
        p.equal(b) and p.grad is None for p, b in zip(module.parameters(), before, strict=True)
    )
    assert H.dense().equal(exact)


def test_dropout_in_training_mode_is_verified_with_its_masks():
    module, _ = network(torch.tanh)
    drop = nn.Dropout(0.5)
    operator_of(
        module, lambda: module["second"](drop(module["first"](X).tanh())).square().mean()
    ).verify()


def test_a_backward_without_derivative_is_refused_by_the_name_of_the_parameter():
    module, energy = network(CubeWithoutSecondDerivative.apply)
    H = operator_of(module, energy)
    with pytest.raises(UsageError, match=r"second derivatives of first.weight"):
        H.verify()


def test_verification_by_differences_accepts_a_function_with_a_right_backward():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            return grad * 3 * ctx.saved_tensors[0] ** 2

    for seed in range(5):
        module, energy = network(Cube.apply, seed)
        operator_of(module, energy).verify()
        module, energy = network(lambda x: torch.relu(Cube.apply(x)), seed)
        operator_of(module, energy).verify()


class HalfProduct(torch.autograd.Function):
    """y = a b whose derivative by a forgets that it depends on b."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad * b.detach(), grad * a


def test_an_asymmetric_matrix_is_refused_by_the_dense_and_by_the_iterative_path():
    a, b = (torch.nn.Parameter(torch.arange(1.0, 31.0)) for _ in range(2))
    H = HessianOperator(lambda: HalfProduct.apply(a, b).square().sum() / 2, [a, b])
    for budget in (Budget(k=2), Budget(k=2, dense_up_to=0, max_products=8, steps=2)):
        with pytest.raises(UsageError, match="asymmetry"):
            spectrum_summary(H, budget)


def test_a_backward_marked_once_differentiable_is_refused():
    module, energy = network(OnceDifferentiable.apply)
    with pytest.raises(UsageError, match="only once"):
        operator_of(module, energy).dense()


@pytest.mark.parametrize("asymmetric", [0.0, 1e-5, 5e-3])
def test_converged_are_exact_eigenvalues_with_small_residuals_only(asymmetric):
    class Given(CurvatureOperator):
        def multiply(self, V):
            return V @ H.T

    H = torch.diag(torch.tensor([10.0, 5.0, 1.0, 1e-3], dtype=torch.float64))
    H[0, 3] = 10 * asymmetric
    row = spectrum_summary(Given(1, 4, torch.float64), Budget(k=4))
    # half the asymmetry in Frobenius norm: 10 a / sqrt(2)
    error = 10 * asymmetric / 2**0.5
    assert row["highest_residual"][0] == pytest.approx([error] * 4, abs=1e-13)
    expected = [error <= 1e-3 * value + 1e-13 for value in (10.0, 5.0, 1.0, 1e-3)]
    assert row["highest_converged"][0].tolist() == expected


class TestReentrantCheckpoints:
    @pytest.fixture
    def module(self):
        torch.manual_seed(0)
        return nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Linear(4, 1)})

    def energy(self, module, reentrant):
        x = X.clone().requires_grad_()
        h = checkpoint(lambda h: module["first"](h).tanh(), x, use_reentrant=reentrant)
        return module["second"](h).square().mean()

    def test_parameters_inside_are_named(self, module):
        with pytest.raises(UsageError, match=r"parameters = first.weight, first.bias: move the"):
            operator_of(module, lambda: self.energy(module, reentrant=True))

    def test_a_parameter_that_is_also_used_outside_is_refused(self, module):
        def energy():
            return self.energy(module, reentrant=True) + module["first"](X).square().mean()

        with pytest.raises(UsageError, match="reentrant checkpoint"):
            operator_of(module, energy)

    def test_in_the_middle_of_a_network(self, module):
        def energy():
            h = checkpoint(torch.tanh, module["first"](X), use_reentrant=True)
            return module["second"](h).square().mean()

        with pytest.raises(UsageError, match="reentrant checkpoint"):
            operator_of(module, energy)

    def test_without_reentrance_the_matrix_is_that_without_checkpoint(self, module):
        def plain():
            return module["second"](module["first"](X).tanh()).square().mean()

        H = operator_of(module, lambda: self.energy(module, reentrant=False))
        H.verify()
        torch.testing.assert_close(H.dense(), operator_of(module, plain).dense())

    def test_an_unused_parameter_beside_a_function_of_python_is_no_error(self, module):
        module["unused"] = nn.Linear(2, 2)

        class Plain(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return 2 * x

            @staticmethod
            def backward(ctx, grad):
                return 2 * grad

        H = operator_of(module, lambda: module["second"](Plain.apply(X)).square().mean())
        H.verify()
        assert H.dense()[0, -6:].abs().sum() == 0


def test_a_stream_is_verified_by_its_first_batch():
    module, _ = network(CubeWithoutSecondDerivative.apply)

    def of(batch):
        cube = CubeWithoutSecondDerivative.apply
        return operator_of(
            module, lambda: module["second"](cube(module["first"](batch))).square().mean()
        )

    with pytest.raises(UsageError, match="second derivatives"):
        StreamingOperator(of, list(X.split(16))).verify()
