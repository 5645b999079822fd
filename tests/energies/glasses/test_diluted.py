import itertools

import pytest
import torch

from lightning_landscape.energies import DilutedPSpin
from lightning_landscape.errors import UsageError
from lightning_landscape.sphere import Sphere
from lightning_landscape.testing.energy import EnergyContract, gradient


class TestDiluted(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return DilutedPSpin(20, p=3, connectivity=0.6, replicas=replicas, dtype=dtype)


class TestFourSpins(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return DilutedPSpin(25, p=4, connectivity=0.5, replicas=replicas, dtype=dtype)


def tuples_and_couplings(energy):
    """The definition: t = (n, n+1, n+3, …) in the order of each layer, one J for each."""
    term = energy.interactions[0]
    windows = [term.orders.roll(-(2**k - 1), dims=1) for k in range(term.p)]
    return torch.stack(windows, dim=-1).flatten(0, 1).long(), term.couplings.flatten()


@pytest.mark.parametrize("p", [2, 3, 4])
@pytest.mark.parametrize("replicas", [1, 2, 16, 37])
def test_kernel_and_plain_torch_are_the_naive_sum(p, replicas):
    energy = DilutedPSpin(40, p, connectivity=0.5, replicas=replicas, dtype="float64")
    t, J = tuples_and_couplings(energy)
    x = energy.configuration().requires_grad_()
    naive = -(J * x[:, t].prod(-1)).sum(1)
    naive_g = torch.autograd.grad(naive.sum(), x)[0]
    close = {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(energy(), naive, **close)
    torch.testing.assert_close(gradient(energy), naive_g, **close)
    sites = x.detach().t().contiguous()
    torch.testing.assert_close(energy.interactions[0]._portable(sites), -naive_g.t(), **close)


def test_plain_torch_in_several_blocks_gives_the_same_force(monkeypatch):
    energy = DilutedPSpin(40, connectivity=0.5, replicas=2, dtype="float64")
    term, sites = energy.interactions[0], energy.configuration().t().contiguous()
    whole = term._portable(sites)
    monkeypatch.setattr("lightning_landscape.energies.glasses.diluted._BLOCK", 200)
    torch.testing.assert_close(term._portable(sites), whole, rtol=1e-13, atol=1e-13)


def test_threads_change_no_bit():
    energy = DilutedPSpin(40, connectivity=0.5, replicas=37)
    one = gradient(energy)
    torch.set_num_threads(2)
    two = gradient(energy)
    torch.set_num_threads(1)
    assert torch.equal(one, two)


def test_hessian_vector_product_is_that_of_the_naive_sum():
    energy = DilutedPSpin(40, 4, connectivity=0.5, replicas=2, dtype="float64")
    t, J = tuples_and_couplings(energy)
    g = gradient(energy, create_graph=True)
    v = torch.randn_like(g)
    Hv = torch.autograd.grad(g, energy.x, v)[0]
    for r, x in enumerate(energy.configuration()):
        H = torch.autograd.functional.hessian(lambda y: -(J * y[t].prod(-1)).sum(), x)
        torch.testing.assert_close(Hv[r], H @ v[r], rtol=1e-12, atol=1e-12)


# the hypergraph


@pytest.mark.parametrize(("p", "c"), [(2, 0.2), (3, 1.5), (4, 0.8)])
def test_every_spin_is_in_exactly_c_N_tuples_of_different_spins(p, c):
    N = 60
    energy = DilutedPSpin(N, p, connectivity=c)
    t, _ = tuples_and_couplings(energy)
    assert energy.connectivity == pytest.approx(c, abs=p / N / 2)
    assert (t.flatten().bincount(minlength=N) == round(energy.connectivity * N)).all()
    assert (t.sort(dim=1).values.diff(dim=1) > 0).all()


@pytest.mark.parametrize("p", [3, 4])
def test_tuples_of_a_layer_share_at_most_one_spin(p):
    N = 2 * (2 ** (p - 1) - 1) + 1
    t, _ = tuples_and_couplings(DilutedPSpin(N, p, connectivity=p / N))
    for a, b in itertools.combinations(t.tolist(), 2):
        assert len(set(a) & set(b)) <= 1


def test_disorder_is_a_function_of_the_seed():
    def disorder(**arguments):
        term = DilutedPSpin(50, **arguments).interactions[0]
        return term.couplings, term.orders

    J, orders = disorder(dtype="float64")
    single, same_orders = disorder(replicas=3)
    assert torch.equal(single, J.float())
    assert torch.equal(same_orders, orders)
    other_J, other_orders = disorder(seed=1, dtype="float64")
    assert not torch.equal(other_orders, orders)
    assert abs((J * other_J).mean() / J.var()) < 4 / J.numel() ** 0.5


def test_checkpoint_holds_the_configuration_only():
    assert list(DilutedPSpin(50).state_dict()) == ["x"]


# the large-N limit


def test_covariance_tends_to_N_f_of_q():
    """<H(x) H(y)> = N/(2M) sum_t prod_k x_tk y_tk; 4 s.e. over the layers."""
    N, flipped = 500, 100
    energy = DilutedPSpin(N, dtype="float64")
    t, J = tuples_and_couplings(energy)
    products = torch.ones(N, dtype=torch.float64)
    products[:flipped] = -1  # x_i y_i of two Ising configurations with q = 0.6
    by_layer = products[t].prod(-1).view(-1, N).mean(1)
    standard_error = by_layer.std() / len(by_layer) ** 0.5
    assert abs(by_layer.mean() - 0.6**3) < 4 * standard_error
    assert standard_error < 0.01
    variance = N / (2 * len(J))
    assert abs(J.var() / variance - 1) < 4 * (2 / len(J)) ** 0.5


def test_quench_follows_the_exact_curve():
    """E(1)/N = -0.78249 at T = 0 (Cugliandolo-Kurchan); 4 s.e. and the bias of the Euler step."""
    N, dt, energies = 1000, 0.02, []
    for seed in range(10):
        energy = DilutedPSpin(N, seed=seed)
        x, sphere = energy.x.data, Sphere(N)
        for _ in range(round(1 / dt)):
            sphere.retract_(x.sub_(dt * sphere.project_(gradient(energy), x)))
        energies.append(energy().item() / N)
    energies = torch.tensor(energies)
    assert energies.std() < 0.04
    assert abs(energies.mean() + 0.78249) < 4 * energies.std() / 10**0.5 + 0.006


# errors


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"N": 100, "p": 1}, "p = 1"),
        ({"N": 6}, "N = 6: must be above 6 for p = 3"),
        ({"N": 100, "connectivity": 0.01}, "connectivity = 0.01: must be at least p/N = 0.03"),
        ({"N": 100, "connectivity": -1.0}, "connectivity = -1.0"),
        ({"N": 100, "connectivity": float("nan")}, "connectivity = nan"),
        ({"N": 10**6}, "connectivity = 1.5: needs 4e.03 GB.*lower it or N"),
        ({"N": 100, "dtype": "half"}, "dtype = half"),
    ],
    ids=str,
)
def test_bad_arguments_give_one_sentence(arguments, names):
    with pytest.raises(UsageError, match=names):
        DilutedPSpin(**arguments)
