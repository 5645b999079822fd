"""One glass shared out among ranks: the same forces, energies, Hessians and runs."""

import math
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist

from lightning_landscape.callbacks import EnergyRelaxation
from lightning_landscape.curvature import hessian_of
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import Quadratic, SphericalPSpin
from lightning_landscape.energies.glasses._couplings import Couplings
from lightning_landscape.energies.glasses._products import Products
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.rng import Stream

GLASS = partial(SphericalPSpin, N=128, seed=3, dtype="float64")
PURE = {"p": 3, "replicas": 2}
MIXED = {"mixture": {2: 0.3, 3: 0.5}, "replicas": 1}
OWN_SAMPLES = {"p": 3, "replicas": 2, "disorder": "independent", "start_temperature": [0.7, 1.2]}


def measured(energy):
    """Return energies, forces, products with the Hessian, and the run after 5 steps at T = 0."""
    E, g = energy.value_and_gradient(energy.x.detach())
    H = hessian_of(energy)
    v = torch.linspace(-1, 1, H.N, dtype=torch.float64).expand(energy.replicas, 1, -1)
    Hv = H @ v.contiguous()
    dynamics = Langevin(energy.parameters(), lr=0.02, constraint=energy.constraint)
    for _ in range(5):
        dynamics.zero_grad()
        energy().sum().backward()
        dynamics.step()
    return E, g, Hv.detach(), energy.hessian(), energy.configuration()


def of_rank(rank, settings):
    energy = GLASS(**settings)
    energy.divide_couplings()
    held = sum(b.nbytes for term in energy.interactions for b in term.buffers())
    return held, *measured(energy)


@pytest.mark.parametrize("settings", [PURE, OWN_SAMPLES, MIXED], ids=["p = 3", "samples", "mixed"])
def test_two_ranks_have_the_glass_of_one_process(two_ranks, settings):
    one = GLASS(**settings)
    expected = measured(one)
    for _, *found in two_ranks(of_rank, settings):
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def sums_of_a_force(rank):
    energy, calls = GLASS(**PURE), []
    energy.divide_couplings()
    before, dist.all_reduce = dist.all_reduce, lambda *a, **k: calls.append(before(*a, **k))
    try:
        energy().sum().backward()
    finally:
        dist.all_reduce = before
    whole = SphericalPSpin(N=128, p=3, replicas=8, dtype="float64")
    whole().sum()
    (term,), (of_all,) = energy.interactions, whole.interactions
    return len(calls), term.products.matrices.numel() / of_all.products.matrices.numel()


def test_a_force_is_one_sum_and_a_rank_holds_half_of_the_couplings(two_ranks):
    for calls, held in two_ranks(sums_of_a_force):
        assert calls == 1
        assert held == pytest.approx(0.5, abs=0.06)  # groups are padded


def drawn_by(rank):
    """Return the largest indices of the couplings that this rank draws."""
    before, steps = Stream.normal_, set()

    def noted(self, out, step):
        steps.add((self.name, step))
        return before(self, out, step)

    Stream.normal_ = noted
    try:
        energy = GLASS(**PURE)
        energy.divide_couplings()
    finally:
        Stream.normal_ = before
    return sorted(step for name, step in steps if name == "couplings/3/0")


def test_a_rank_draws_its_own_couplings_only(two_ranks):
    first, second = two_ranks(drawn_by)
    assert len(first) == len(second) == 64
    assert sorted(first + second) == list(range(128))


@pytest.mark.parametrize("p", [2, 3, 4])
@pytest.mark.parametrize("temperature", [math.inf, 0.7])
def test_matrices_are_the_same_whether_all_couplings_are_drawn_or_some(p, temperature):
    N, number = 9, torch.float32
    spins = Stream(1, "spins").normal_(torch.empty(2, N, dtype=torch.float64), step=0)
    planted = () if math.isinf(temperature) else [(0.5 / temperature, s) for s in spins]
    streams = [Stream(seed, "couplings") for seed in (3, 4)]
    couplings = Couplings(N, p, 0.5, streams, planted, number)
    one, other = (Products(source, N, p) for source in (couplings.drawn(), couplings))
    assert one.matrices.equal(other.matrices) and one.matrices.any()


def test_what_is_drawn_late_is_the_same(monkeypatch):
    settings = {**OWN_SAMPLES, "N": 16}
    now = GLASS(**settings)
    monkeypatch.setenv("WORLD_SIZE", "4")
    late, again = GLASS(**settings), GLASS(**settings)
    assert late.interactions[0].packed.numel() == 0
    assert late().equal(now()) and late.hessian().equal(now.hessian())
    some = torch.tensor([1])
    assert again.only(some)().equal(now.only(some)())


def in_step(rank):
    energy = SphericalPSpin(N=128, p=3, replicas=1, seed=3)
    energy.divide_couplings()
    dynamics = Langevin(energy.parameters(), 0.02, 0.3, constraint=energy.constraint)
    for _ in range(30):
        dynamics.zero_grad()
        energy().sum().backward()
        dynamics.step()
    return energy.configuration()


def test_ranks_stay_equal_to_the_bit(two_ranks):
    first, second = two_ranks(in_step)
    assert first.equal(second)


def test_few_spins_are_refused():
    with pytest.raises(UsageError, match="N = 64: must be at least 128 for the strategy couplings"):
        SphericalPSpin(N=64).divide_couplings()


def fit(energy, folder, devices, callbacks=()):
    trainer = pl.Trainer(
        max_steps=10,
        accelerator="cpu",
        devices=devices,
        strategy="couplings_fork" if devices > 1 else "auto",
        default_root_dir=folder,
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(LandscapeModule(energy, partial(Langevin, lr=0.02, temperature=0.3)))
    return energy.configuration()


def test_a_run_of_two_devices_is_that_of_one(tmp_path):
    probe = EnergyRelaxation(first=0.1, last=0.2, per_decade=3)
    one = fit(GLASS(**PURE), tmp_path / "one", 1)
    two = fit(GLASS(**PURE), tmp_path / "two", 2, [probe])
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_an_energy_without_couplings_is_refused(tmp_path):
    with pytest.raises(Exception, match="Quadratic has no dense couplings"):
        fit(Quadratic([1.0, 2.0]), tmp_path, 2)
