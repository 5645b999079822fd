import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_landscape.energies import SphericalPSpin
from lightning_landscape.energies.glasses import _products
from lightning_landscape.energies.glasses._couplings import curvature, draw_
from lightning_landscape.energies.glasses._products import Products
from lightning_landscape.energies.glasses._tuples import count, monomials, permutations, tuples
from lightning_landscape.errors import UsageError
from lightning_landscape.memory import require_memory
from lightning_landscape.sphere import Sphere
from lightning_landscape.testing.energy import EnergyContract, gradient

MODELS = [{2: 0.5}, {3: 0.5}, {4: 0.5}, {5: 0.5}, {2: 0.3, 3: 0.5, 4: 0.1}]
# the packed kernel, the matrix products, the packed kernel with a sample for each replica
DISORDER = [(2, "shared"), (5, "shared"), (3, "independent")]


class TestShared(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return SphericalPSpin(12, p=3, replicas=replicas, seed=1, dtype=dtype)


class TestIndependent(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return SphericalPSpin(8, 4, replicas=replicas, disorder="independent", seed=1, dtype=dtype)


class TestMixedAndPlanted(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        mixture = {2: 0.2, 3: 0.5}
        return SphericalPSpin(
            9, mixture=mixture, replicas=replicas, start_temperature=0.8, dtype=dtype
        )

    def test_start_obeys_the_constraint(self):
        super().test_start_obeys_the_constraint()
        x = self.make().configuration()
        assert torch.equal(x[0], x[1])


# the tuples


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_tuples_are_in_colexicographic_order(d):
    expected = sorted(itertools.combinations_with_replacement(range(5), d), key=lambda t: t[::-1])
    assert tuples(5, d).T.tolist() == [list(t) for t in expected]
    assert len(expected) == count(5, d)
    orderings = [len(set(itertools.permutations(t))) for t in expected]
    assert (math.factorial(d) / permutations(tuples(5, d))).tolist() == orderings
    assert torch.equal(tuples(3, d), tuples(5, d)[:, : count(3, d)])


# derivatives against the naive formula


def full_tensor(packed, N, p):
    """J with P(x) = sum over all ordered tuples of J x … x, from one number per unordered one."""
    J = torch.zeros((N,) * p, dtype=packed.dtype)
    for t, z in zip(tuples(N, p).T.tolist(), packed, strict=True):
        orders = set(itertools.permutations(t))
        J[tuple(zip(*orders, strict=True))] = z / len(orders)
    return J


def full_tensors(energy, r):
    """The tensors of all orders of replica r."""
    return [
        full_tensor(term.packed[r % len(term.packed)], energy.N, term.p)
        for term in energy.interactions
    ]


def naive_energy(tensors, x):
    """H by contraction of the full tensors."""
    H = 0
    for J in tensors:
        for _ in range(J.ndim):
            J = J @ x
        H = H - J
    return H


@pytest.mark.parametrize(("replicas", "disorder"), DISORDER)
@pytest.mark.parametrize("mixture", MODELS, ids=str)
def test_energy_gradient_and_hessian_are_those_of_the_naive_formula(mixture, replicas, disorder):
    energy = SphericalPSpin(
        6, mixture=mixture, replicas=replicas, disorder=disorder, dtype="float64"
    )
    close = {"rtol": 1e-12, "atol": 1e-12}
    g = gradient(energy, create_graph=True)
    v = torch.randn_like(g)
    Hv = torch.autograd.grad(g, energy.x, v)[0]
    hessian = energy.hessian()
    for r, x in enumerate(energy.configuration()):
        x.requires_grad_()
        tensors = full_tensors(energy, r)
        naive = naive_energy(tensors, x)
        naive_g = torch.autograd.grad(naive, x)[0]
        naive_H = torch.autograd.functional.hessian(partial(naive_energy, tensors), x)
        torch.testing.assert_close(energy()[r], naive, **close)
        torch.testing.assert_close(g[r], naive_g, **close)
        torch.testing.assert_close(Hv[r], naive_H @ v[r], **close)
        torch.testing.assert_close(hessian[r], naive_H, **close)


@pytest.mark.parametrize("p", [2, 3, 4])
def test_packed_kernel_and_matrix_products_agree(p, monkeypatch):
    energy = SphericalPSpin(20, p, replicas=3, disorder="independent", dtype="float64")
    term, x = energy.interactions[0], torch.randn(6, 20, dtype=torch.float64)
    v = torch.randn_like(x)
    packed = term.force(x), term.force_along(x, v)
    assert term.products is None
    term.use_products = True
    products = term.force(x), term.force_along(x, v)
    monkeypatch.setattr(
        "lightning_landscape.energies.glasses._products._add_compiled", _products._add
    )
    plain = term.force(x), term.force_along(x, v)
    for others in (products, plain):
        for ours, other in zip(packed, others, strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-12)


def test_threads_change_no_bit():
    energy = SphericalPSpin(20, 3, replicas=5, disorder="independent")
    one = gradient(energy)
    torch.set_num_threads(2)
    two = gradient(energy)
    torch.set_num_threads(1)
    assert torch.equal(one, two)


def test_third_derivative_is_refused():
    energy = SphericalPSpin(6)
    g = gradient(energy, create_graph=True)
    Hv = torch.autograd.grad(g, energy.x, torch.ones_like(g), create_graph=True)[0]
    with pytest.raises(UsageError, match="differentiable twice"):
        Hv.sum().backward()


def test_multiplier_and_energy_obey_euler():
    """x . grad H = p H, so the multiplier of a pure model is -p E at T = 0."""
    energy = SphericalPSpin(30, 4, replicas=6, dtype="float64")
    torch.testing.assert_close((energy.x * gradient(energy)).sum(1), 4 * energy())


# the Gaussian field


class Ones:
    """A stream whose normals are all 1, so that couplings show their standard deviations."""

    def normal_(self, out, step):
        return out.fill_(1.0)


@pytest.mark.parametrize("q", [1.0, 0.6, 0.0, -0.7])
@pytest.mark.parametrize(("p", "strength"), [(2, 0.5), (3, 0.5), (4, 0.2), (5, 1.0)])
def test_covariance_is_exactly_N_f_of_q(p, strength, q):
    N = 7
    x, y = configurations_with_overlap(N, q)
    deviations = draw_(torch.empty(count(N, p), dtype=torch.float64), N, p, strength, Ones())
    both = monomials(tuples(N, p), x) * monomials(tuples(N, p), y)
    covariance = (deviations**2 * both).sum().item()
    assert covariance == pytest.approx(N * strength * q**p, abs=1e-12)


@pytest.mark.parametrize("mixture", [{2: 0.5}, {3: 0.5}, {4: 0.5}, {2: 0.4, 3: 0.6}], ids=str)
def test_covariance_over_samples_is_N_f_of_q(mixture):
    N, samples = 6, 1000
    energy = SphericalPSpin(
        N, mixture=mixture, replicas=samples, disorder="independent", dtype="float64", seed=5
    )
    for q in (1.0, 0.7, 0.2, -0.5):
        H = []
        for x in configurations_with_overlap(N, q):
            energy.load_configuration(x.expand(samples, N))
            H.append(energy().detach())
        product = H[0] * H[1]
        standard_error = (product.std() / samples**0.5).item()
        expected = N * sum(a * q**p for p, a in mixture.items())
        assert abs(product.mean().item() - expected) < 4 * standard_error
        assert abs(H[1].mean()) < 4 * H[1].std() / samples**0.5


def configurations_with_overlap(N, q):
    basis = torch.linalg.qr(torch.randn(N, 2, dtype=torch.float64))[0].T * N**0.5
    return basis[0], q * basis[0] + math.sqrt(1 - q * q) * basis[1]


def test_orders_of_a_mixture_have_couplings_of_their_own():
    energy = SphericalPSpin(40, mixture={3: 0.5, 4: 0.5}, dtype="float64")
    a, b = (term.packed[0][: count(40, 3)] for term in energy.interactions)
    correlation = torch.corrcoef(torch.stack([a, b]))[0, 1]
    assert abs(correlation) < 4 / count(40, 3) ** 0.5


# couplings are functions of the seed and the index


def packed(**arguments):
    return SphericalPSpin(**{"N": 10, **arguments}).interactions[0].packed


def test_couplings_depend_on_neither_layout_nor_dtype():
    reference = packed(dtype="float64", disorder="independent", replicas=4)
    assert torch.equal(packed(disorder="independent", replicas=4), reference.float())
    assert torch.equal(packed(dtype="float64", disorder="independent", replicas=2), reference[:2])
    for replicas in (1, 7):
        assert torch.equal(packed(dtype="float64", replicas=replicas), reference[:1])


def test_samples_and_seeds_differ():
    samples = packed(disorder="independent", replicas=3, N=30)
    other_seed = packed(seed=1, N=30)
    together = torch.cat([samples, other_seed])
    correlation = torch.corrcoef(together) - torch.eye(4)
    assert correlation.abs().max() < 4 / samples.shape[1] ** 0.5


def test_start_depends_on_seed_and_replica_only():
    x = SphericalPSpin(10, replicas=4, dtype="float64").configuration()
    assert torch.equal(SphericalPSpin(10, replicas=2).configuration(), x[:2].float())
    planted = SphericalPSpin(10, replicas=2, start_temperature=1.0).configuration()
    assert torch.equal(planted, x[:1].float().expand(2, 10))
    with_samples = SphericalPSpin(
        10, replicas=2, start_temperature=1.0, disorder="independent"
    ).configuration()
    assert torch.equal(with_samples, x[:2].float())


def test_uniform_start_is_uniform():
    """Each component has mean 0 and variance 1, different ones are uncorrelated: 4 s.e."""
    x = SphericalPSpin(5, 2, replicas=4000, dtype="float64").configuration()
    assert x.mean(0).abs().max() < 4 / 4000**0.5
    assert (x.T @ x / 4000 - torch.eye(5)).abs().max() < 4 * (2 / 4000) ** 0.5


def test_shared_disorder_is_one_landscape_and_independent_disorder_several():
    for disorder, same in (("shared", True), ("independent", False)):
        energy = SphericalPSpin(10, replicas=3, disorder=disorder)
        energy.load_configuration(energy.configuration()[:1].repeat(3, 1))
        assert (energy()[0] == energy()[1]).item() == same


def test_checkpoint_holds_the_configuration_only():
    energy = SphericalPSpin(10, replicas=5)
    energy()
    assert list(energy.state_dict()) == ["x"]


# planting


@pytest.mark.parametrize("disorder", ["shared", "independent"])
@pytest.mark.parametrize("mixture", [{3: 0.5}, {2: 0.3, 4: 0.2}], ids=str)
def test_planting_adds_minus_N_beta_f_of_the_overlap_with_the_start(mixture, disorder):
    common = {"N": 8, "mixture": mixture, "replicas": 3, "disorder": disorder, "dtype": "float64"}
    planted = SphericalPSpin(**common, start_temperature=0.7)
    plain = SphericalPSpin(**common)
    start = planted.configuration()
    x = Sphere(8).retract_(start + torch.randn(3, 8, dtype=torch.float64))
    for configuration in (start, x):
        planted.load_configuration(configuration)
        plain.load_configuration(configuration)
        q = (configuration * start).sum(1) / 8
        f = sum(a * q**p for p, a in mixture.items())
        torch.testing.assert_close(planted() - plain(), -8 * f / 0.7, rtol=1e-12, atol=1e-12)


def test_planted_energy_is_that_of_equilibrium_on_average():
    """<E>/N = -f(1)/T, with variance f(1)/N."""
    T, N, samples = 0.8, 16, 400
    energy = SphericalPSpin(N, replicas=samples, disorder="independent", start_temperature=T)
    mean = energy().mean().item() / N
    assert abs(mean + 0.5 / T) < 4 * (0.5 / N / samples) ** 0.5


# random matrices


def test_hessian_at_a_random_point_is_a_semicircle_of_radius_2_sqrt_3():
    """Of the tangential Hessian: tr H^2/(N-1) = f''(1) = 3, <lambda_max> = 3.4641 - edge shift."""
    N, samples = 128, 20
    energy = SphericalPSpin(N, replicas=samples, disorder="independent", dtype="float64")
    normals = energy.configuration() / N**0.5
    P = torch.eye(N, dtype=torch.float64) - normals[:, :, None] * normals[:, None, :]
    eigenvalues = torch.linalg.eigvalsh(P @ energy.hessian() @ P)
    assert abs((eigenvalues**2).sum(1).mean().item() / (N - 1) - 3.00) < 0.06
    assert abs(eigenvalues[:, -1].mean().item() - 3.38) < 0.06


# errors


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"N": 8, "p": 1}, "p = 1"),
        ({"N": 8, "p": 2.5}, "p = 2.5"),
        ({"N": 1}, "N = 1"),
        ({"N": 8.0}, "N = 8.0"),
        ({"N": 8, "mixture": {1: 0.5}}, "p = 1"),
        ({"N": 8, "mixture": {}}, "mixture = {}"),
        ({"N": 8, "mixture": {3: -0.5}}, r"mixture\[3\] = -0.5"),
        ({"N": 8, "mixture": {3: math.inf}}, r"mixture\[3\] = inf"),
        ({"N": 8, "replicas": 0}, "replicas = 0"),
        ({"N": 8, "disorder": "Shared"}, 'disorder = Shared.*"shared" or "independent"'),
        ({"N": 8, "start_temperature": 0.0}, "start_temperature = 0.0"),
        ({"N": 8, "start_temperature": math.nan}, "start_temperature = nan"),
        ({"N": 8, "dtype": "int32"}, "dtype = int32.*float32 or float64"),
        ({"N": 20_000}, "N = 20000: needs 5.34e.03 GB.*lower N or p"),
    ],
    ids=str,
)
def test_bad_arguments_give_one_sentence(arguments, names):
    with pytest.raises(UsageError, match=names):
        SphericalPSpin(**arguments)


def test_memory_is_asked_for_before_anything_is_allocated(monkeypatch):
    """The estimate is what the couplings, the matrices and the tables really take."""
    energy = SphericalPSpin(150, 3, replicas=5)
    energy()
    held = sum(b.numel() * b.element_size() for b in energy.buffers())
    asked = []
    monkeypatch.setattr(
        "lightning_landscape.energies.glasses.pspin.require_memory", lambda n, *_: asked.append(n)
    )
    SphericalPSpin(150, 3, replicas=5)
    assert asked[0] == pytest.approx(held, rel=0.1)
    with pytest.raises(UsageError, match=r"x = 3: needs 1e\+09 GB of memory.*; less"):
        require_memory(1e18, "x", 3, "less")


def test_reference_is_what_the_exact_equations_need():
    energy = SphericalPSpin(8, mixture={4: 0.1, 3: 0.5}, start_temperature=0.9)
    assert energy.reference() == {
        "theory": "pspin",
        "mixture": '{"3": 0.5, "4": 0.1}',
        "start_temperature": 0.9,
        "N": 8,
        "disorder": "shared",
    }
    assert energy.extensive
    assert energy.constraint == Sphere(8)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("replicas", "disorder"), DISORDER)
def test_device_changes_nothing_but_rounding(replicas, disorder):
    energy = SphericalPSpin(
        40, mixture={2: 0.1, 3: 0.5, 4: 0.1}, replicas=replicas, disorder=disorder, dtype="float64"
    )
    v = torch.randn(replicas, 40, dtype=torch.float64)
    results = []
    for device in ("cpu", "cuda"):
        energy.to(device)
        g = gradient(energy, create_graph=True)
        Hv = torch.autograd.grad(g, energy.x, v.to(device))[0]
        results.append([t.detach().cpu() for t in (energy(), g, Hv, energy.hessian())])
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-11)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("N", "p"), [(100, 3), (75, 3), (20, 4), (9, 5)])
@pytest.mark.parametrize("replicas", [1, 3, 16, 100])
@pytest.mark.parametrize("disorder", ["shared", "independent"])
def test_the_kernel_of_a_gpu_computes_the_force(N, p, replicas, disorder):
    """In single precision to its rounding, and twice the same to the bit."""
    glass = SphericalPSpin(N, p, replicas=replicas, disorder=disorder, dtype="float64")
    force = gradient(glass)
    single = SphericalPSpin(N, p, replicas=replicas, disorder=disorder).to("cuda")
    first, second = gradient(single), gradient(single)
    assert first.equal(second)
    assert (first.cpu() - force).norm() < 2e-6 * force.norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_couplings_that_do_not_fit_on_a_gpu_are_refused_before_they_are_arranged(monkeypatch):
    glass = SphericalPSpin(64).to("cuda")
    torch.cuda.empty_cache()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", torch.cuda.memory_allocated)
    with pytest.raises(UsageError, match=r"N = 64: needs .* --trainer.strategy couplings"):
        glass()


def test_groups_of_replicas_are_planted_at_temperatures_of_their_own():
    common = {"N": 12, "replicas": 4, "disorder": "independent", "seed": 3, "dtype": "float64"}
    several = SphericalPSpin(**common, start_temperature=[0.7, 1.4])
    cold, hot = (SphericalPSpin(**common, start_temperature=T) for T in (0.7, 1.4))
    expected = torch.cat([cold()[:2], hot()[2:]])
    torch.testing.assert_close(several(), expected, rtol=1e-13, atol=1e-13)
    assert several.reference()["start_temperature"] == [0.7, 0.7, 1.4, 1.4]
    with pytest.raises(UsageError, match="has 3 temperatures for 4 samples"):
        SphericalPSpin(**common, start_temperature=[0.7, 1.0, 1.4])
    with pytest.raises(UsageError, match="has 2 temperatures for 1 samples"):
        SphericalPSpin(N=12, replicas=4, start_temperature=[0.7, 1.4])


# a peer


@pytest.mark.parametrize("p", [3, 4])
def test_pele_computes_the_same(p):
    """Its H is -N^((1-p)/2) sum over i < j < … of J x x …, its gradient the tangential one.

    So J is N^((p-1)/2) times our couplings, and those with repeated indices are left out. Its
    examples draw J with variance p!, which makes energies sqrt(2) times larger than ours.
    """
    potentials = pytest.importorskip("pele.potentials", reason="pele is not installed")
    N = 10
    energy = SphericalPSpin(N, p, dtype="float64")
    term = energy.interactions[0]
    different = permutations(tuples(N, p)) == 1
    term.packed.mul_(different)
    J = full_tensor(term.packed[0], N, p) * math.factorial(p) * N ** ((p - 1) / 2)
    pele = potentials.MeanFieldPSpinSpherical(J.numpy().ravel(), N, p)
    x = energy.configuration()
    E, g = pele.getEnergyGradient(x[0].numpy().copy())
    ours = Sphere(N).project_(gradient(energy), x)[0]
    assert energy().item() == pytest.approx(E, rel=1e-12)
    np.testing.assert_allclose(ours.numpy(), g, atol=1e-12)


@pytest.mark.parametrize("p", [2, 3, 4, 5])
def test_the_hessian_of_other_devices_is_that_of_the_kernel(p):
    energy = SphericalPSpin(N=7, p=p, replicas=3, disorder="independent", dtype="float64")
    (interaction,) = energy.interactions
    _, portable = curvature(interaction.packed, energy.x.detach(), p)
    torch.testing.assert_close(-portable, energy.hessian(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("disorder", ["shared", "independent"])
@pytest.mark.parametrize("products", [False, True])
def test_some_replicas_keep_their_disorder(disorder, products):
    """Energy, force and matrix of each are those it had among all."""
    temperatures = [0.7, 0.8, 0.9, 1.0] if disorder == "independent" else 0.8
    glass = SphericalPSpin(
        N=12, replicas=4, disorder=disorder, start_temperature=temperatures, dtype="float64"
    )
    for interaction in glass.interactions:
        interaction.use_products = products
    glass()  # makes the matrices of the products
    kept = [3, 1]
    some = glass.only(torch.tensor(kept))
    torch.testing.assert_close(some(), glass()[kept])
    torch.testing.assert_close(gradient(some), gradient(glass)[kept])
    torch.testing.assert_close(some.hessian(), glass.hessian()[kept])
    if disorder == "independent":
        assert some.start_temperature == [1.0, 0.8]
    every = glass.only(torch.arange(4))
    assert every.interactions[0].packed is glass.interactions[0].packed  # no copy of the couplings
    before = glass.configuration()
    some.load_configuration(-some.configuration())
    assert glass.configuration().equal(before)


class Kernels(TorchDispatchMode):
    """Counts the operators that compute or copy, each of which is a kernel on a GPU."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not func.is_view and func.name() not in ("aten::detach", "aten::_unsafe_view")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("N", "p", "padding"), [(64, 3, 1.2), (1024, 3, 1.2), (24, 4, 1.3)])
def test_a_force_on_a_gpu_is_a_few_kernels_and_pads_little(N, p, padding):
    """Seen on the device "meta", which takes the path of a GPU and computes nothing."""
    packed = torch.empty(1, count(N, p), device="meta")
    products = Products(packed, N, p)
    # for p = 4 the size K belongs to all pairs whose smaller index is K - 1
    least = sum(K**2 * (N - K + 1 if p == 4 else 1) for K in range(1, N + 1))
    assert products.matrices.numel() <= padding * least
    with Kernels() as kernels:
        products.gradient(torch.empty(4, N, device="meta"))
    assert kernels.count <= 220
