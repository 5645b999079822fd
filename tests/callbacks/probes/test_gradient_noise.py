"""The probes of gradient noise, in runs of ours and of others, against loops over samples."""

from collections import UserDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_landscape import records
from lightning_landscape.callbacks import GradientNoise, NoiseSpectrum
from lightning_landscape.callbacks.batches import cut, require_mean_of_parts
from lightning_landscape.curvature import hessian_of
from lightning_landscape.data import Batches, RandomData
from lightning_landscape.energies import FullyConnected, NetworkEnergy, Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.rng import Stream
from lightning_landscape.testing.probe import (
    Classifier,
    ProbeContract,
    bare_trainer,
    last_record,
    train,
)

P, R, LR = 40, 3, 0.1


def energy(dtype="float64"):
    net = FullyConnected([6, 8, 3], "tanh", replicas=R, bias_variance=0.1, dtype=dtype)
    return NetworkEnergy(net, RandomData(P, 6, classes=3))


def run(batches=None):
    return LandscapeModule(
        energy(), lambda params: torch.optim.SGD(params, lr=LR), batches or Batches(8)
    )


def all_data():
    """Without mini-batches: two processes would add up their halves in another order."""
    return LandscapeModule(energy("float32"), lambda params: torch.optim.SGD(params, lr=1.0))


def fit(module, probe, steps, folder):
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(module)
    return last_record(folder, probe.name)


def loop(landscape):
    """The gradient of each sample by itself, shape (P, R, N)."""
    parameters, rows = list(landscape.parameters()), []
    for mu in range(P):
        parts = torch.autograd.grad(landscape(torch.tensor([mu])).sum(), parameters)
        rows.append(torch.cat([part.flatten(1) for part in parts], dim=1))
    return torch.stack(rows).double()


class TestContract(ProbeContract):
    def make(self):
        return GradientNoise(first=1, last=20, per_decade=1, groups=4, batches=Batches(8))

    def landscape(self):
        return all_data()


class TestSpectrumContract(ProbeContract):
    def make(self):
        return NoiseSpectrum(first=1, last=20, k=2, random_vectors=3, groups=4, batches=Batches(8))

    def landscape(self):
        return all_data()


@pytest.mark.parametrize("replacement", [False, True])
def test_noise_of_a_run_is_that_of_a_loop_over_samples(replacement, tmp_path):
    """At the start, with the run's own batch size and way to draw."""
    B, G = 8, loop(energy())
    probe = GradientNoise(first=LR, last=LR)
    record = fit(run(Batches(B, replacement=replacement)), probe, 2, tmp_path).isel(t=0)
    S = G.var(0)
    factor = (P - 1) / (P * B) if replacement else (P - B) / (P * B)
    assert record["D"].values == pytest.approx(factor * S.mean(1).numpy(), rel=1e-10)
    first = factor * S[:, :48].mean(1)  # the 8 x 6 weights of the first layer
    assert record["D_part"].isel(part=0).values == pytest.approx(first.numpy(), rel=1e-10)
    assert str(record["part"].values[0]) == "architecture.weights.0"
    square = G.mean(0).square().sum(1)
    assert record["noise_scale"].values == pytest.approx((S.sum(1) / square).numpy(), rel=1e-10)
    N = G.shape[-1]
    assert record["gradient_square"].values == pytest.approx((square / N).numpy(), rel=1e-10)
    matched = LR * record["D"].values / 2
    assert record["temperature_of_sgd"].values == pytest.approx(matched)
    assert record.attrs["batch_size"] == B and record.attrs["replacement"] == replacement
    assert record["kurtosis"].sizes == {"replica": R, "direction": 10}


def test_some_samples_stand_for_all(tmp_path):
    """Over 64 random halves of the samples D and |grad E|^2 are unbiased, within 4 s.e."""
    module = run()
    G = loop(module.energy)
    D, square = (P - 8) / (P * 8) * G.var(0).mean(1), G.mean(0).square().mean(1)
    found = []
    for seed in range(64):
        probe = GradientNoise(first=LR, last=LR, samples=P // 2, seed=seed)
        probe.batches = Batches(8)
        fit_once(probe, module)
        found.append(torch.stack([probe.results["D"][0], probe.results["gradient_square"][0]]))
    found = torch.stack(found)
    error = found.std(0) / 8
    assert ((found.mean(0) - torch.stack([D, square])).abs() < 4 * error).all()


def fit_once(probe, module):
    """Measure without a Trainer."""
    from lightning_landscape.callbacks.view import View

    view = View(module, None, 0)
    probe.events(view.time_step)
    probe.prepare(view)
    probe.parts = []
    probe.measure(view, [0])


def test_spectrum_of_a_run_is_that_of_dense_matrices(tmp_path):
    k, landscape = 4, energy()
    G, H = loop(landscape), hessian_of(landscape).dense()
    C = torch.stack([torch.cov(g.T) for g in G.unbind(1)]) * (P - 8) / (P * 8)
    values, vectors = torch.linalg.eigh(C)
    curvatures, directions = torch.linalg.eigh(H)
    record = fit(run(), NoiseSpectrum(first=LR, last=LR, k=k, random_vectors=30), 2, tmp_path).isel(
        t=0
    )
    highest = values[:, -k:].flip(1)
    assert record["eigenvalues"].values == pytest.approx(highest.numpy(), rel=1e-4)
    expected = curvatures[:, -k:].flip(1)
    assert record["curvatures"].values == pytest.approx(expected.numpy(), rel=1e-4)
    assert record["trace"].values == pytest.approx(values.sum(1).numpy(), rel=1e-10)
    overlap = (vectors[..., -k:].mT @ directions[..., -k:]).square().sum((1, 2)) / k
    assert record["overlap"].isel(rank=-1).values == pytest.approx(overlap.numpy(), abs=0.02)
    trace = (H * C).sum((1, 2))
    error = 4 * record["trace_of_product_error"].values
    assert (abs(record["trace_of_product"].values - trace.numpy()) < error).all()
    cosine = (trace / (H.norm(dim=(1, 2)) * C.norm(dim=(1, 2)))).numpy()
    assert (abs(record["cosine"].values - cosine) < 4 * record["cosine_error"].values).all()


def test_in_a_foreign_project_the_batch_is_cut_into_groups(tmp_path):
    """Batches of 8 in 4 parts, 2 batches to a step: the gradients of the parts, by hand."""
    seen = []

    class Watched(Classifier):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(8, 2)

        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.trainer.global_step == 2 and not seen:
                grads = [self.flat(batch[0][2 * k : 2 * k + 2], batch[1][2 * k : 2 * k + 2])
                         for k in range(4)]  # fmt: skip
                seen.append(torch.stack(grads).double())

        def flat(self, x, y):
            loss = torch.nn.functional.cross_entropy(self.net(x), y)
            return torch.cat([g.flatten() for g in torch.autograd.grad(loss, self.parameters())])

    probe = GradientNoise(first=2, last=2, groups=4, split_fn="samples")
    train(Watched(), tmp_path, [probe], accumulate_grad_batches=2)
    record = records.read(next(tmp_path.rglob("gradient_noise.nc"))).sel(t=2)
    G = seen[0]
    assert record["D"].item() == pytest.approx(G.var(0).mean().item() * 2 / 16, rel=1e-5)
    total, square = G.var(0).sum().item(), G.mean(0).square().sum().item()
    signal = square - total / 4
    assert record["gradient_square"].item() == pytest.approx(signal / 18, rel=1e-4)
    assert "kurtosis" not in record and "temperature_of_sgd" not in record


def test_a_batch_may_be_a_dict_and_smaller_than_the_groups(tmp_path):
    class OfDict(Classifier):
        def training_step(self, batch, batch_idx):
            return torch.nn.functional.cross_entropy(self.net(batch["x"]), batch["y"])

    module, probe = OfDict(), GradientNoise(first=1, last=2, groups=50, split_fn="samples")
    module.net = torch.nn.Linear(8, 2)
    rows = [{"x": torch.randn(8), "y": torch.tensor(k % 2)} for k in range(20)]
    bare_trainer([probe], 2, tmp_path).fit(module, DataLoader(rows, batch_size=10))
    assert (probe.results["D"] > 0).all() and len(probe.results["D"]) == 3


class Watched(Classifier):
    """Keeps every batch, and the parameters before it."""

    def __init__(self, drop=False):
        super().__init__()
        self.net = torch.nn.Linear(8, 2)
        self.batches, self.before = [], []

    def on_train_batch_start(self, batch, batch_idx):
        self.batches.append([part.clone() for part in batch])
        self.before.append([p.detach().clone() for p in self.parameters()])

    def gradients(self, batches, at):
        """The gradients of batches at parameters, (m, N), by hand."""
        rows = []
        for x, y in batches:
            W, b = (p.clone().requires_grad_() for p in at)
            loss = torch.nn.functional.cross_entropy(x @ W.mT + b, y)
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, [W, b])]))
        return torch.stack(rows).double()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_consecutive_batches_are_evaluated_where_the_first_began(accumulate, tmp_path):
    """Windows of 3 batches after steps 0, 1, 2 and 4, against a loop over what the run saw."""
    module, probe = Watched(), GradientNoise(first=1, last=4, per_decade=3, groups=3)
    train(module, tmp_path, [probe], accumulate_grad_batches=accumulate)
    record = probe.dataset()
    assert record["t"].values.tolist() == [0, 1, 2, 4]
    for t in (0, 1, 2, 4):
        first = t * accumulate
        G = module.gradients(module.batches[first : first + 3], module.before[first])
        D = G.var(0).mean().item() / accumulate
        assert record["D"].sel(t=t).item() == pytest.approx(D, rel=1e-5), t
        signal = G.mean(0).square().sum().item() - G.var(0).sum().item() / 3
        found = record["gradient_square"].sel(t=t).item()
        assert found == pytest.approx(signal / 18, rel=1e-4, abs=1e-9)
    # what a wrong point of evaluation would give
    G = module.gradients(module.batches[4:7], module.before[0])
    assert abs(record["D"].sel(t=4).item() - G.var(0).mean().item()) > 1e-3 * G.var(0).mean()


class SavesAt(pl.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def stopped_in_a_window(make, folder):
    """The last window is that of step 2, of 3 batches, the run goes on from a checkpoint at 4."""
    path = folder / "at4.ckpt"
    first, second = make(), make()
    probes = [GradientNoise(first=2, last=2, groups=3) for _ in range(2)]
    train(first, folder, [probes[0], SavesAt(4, path)], max_steps=4)
    train(second, folder, [probes[1]], max_steps=8, ckpt_path=path)
    return first, second, probes[1]


def test_a_run_stopped_between_consecutive_batches_goes_on_with_them(tmp_path):
    first, second, probe = stopped_in_a_window(Watched, tmp_path)
    G = first.gradients([*first.batches[2:4], second.batches[0]], first.before[2])
    record = probe.dataset()
    assert record["t"].values.tolist() == [0, 2]
    assert record["D"].sel(t=2).item() == pytest.approx(G.var(0).mean().item(), rel=1e-5)


def test_batches_that_a_checkpoint_cannot_hold_are_said_to_be_missing(tmp_path, caplog):
    class OfObjects(Watched):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return UserDict(x=batch[0], y=batch[1])

        def on_train_batch_start(self, batch, batch_idx):
            pass

        def training_step(self, batch, batch_idx):
            return self.loss([batch["x"], batch["y"]])

    probe = stopped_in_a_window(OfObjects, tmp_path)[2]
    assert probe.dataset()["t"].values.tolist() == [0]
    assert (
        "gradient_noise: the noise at step 2 is not in the record: the run was sto" in caplog.text
    )


def test_batches_that_the_step_skips_are_left_out(tmp_path):
    class Skips(Watched):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) if batch_idx != 1 else None

    module, probe = Skips(), GradientNoise(first=1, last=1, groups=3)
    train(module, tmp_path, [probe], max_epochs=1)
    record = probe.dataset().isel(replica=0)
    G = module.gradients([module.batches[0], module.batches[2]], module.before[0])
    assert record["D"].sel(t=0).item() == pytest.approx(G.var(0).mean().item(), rel=1e-5)


def test_the_temperature_of_plain_sgd_only(tmp_path):
    """T = lr D / 2 with the present lr of a scheduler; with momentum there is no such law."""

    class Plain(Watched):
        def configure_optimizers(self):
            sgd = torch.optim.SGD(self.parameters(), lr=0.05)
            schedule = torch.optim.lr_scheduler.ExponentialLR(sgd, 0.5)
            return [sgd], [{"scheduler": schedule, "interval": "epoch"}]

    probe = GradientNoise(first=1, last=10, per_decade=1, groups=2)
    train(Plain(), tmp_path, [probe], max_epochs=2)  # of 8 steps
    record = probe.dataset().isel(replica=0)
    lr = np.array([0.05, 0.05, 0.025])
    assert record["t"].values.tolist() == [0, 1, 10]
    assert record["temperature_of_sgd"].values == pytest.approx(lr * record["D"].values / 2)
    probe = GradientNoise(first=1, last=1, groups=2)
    train(Watched(), tmp_path, [probe], max_epochs=1)
    assert "temperature_of_sgd" not in probe.dataset()


def test_the_last_window_may_be_shorter_and_one_batch_is_none(tmp_path, caplog):
    module = Watched()
    probe = GradientNoise(first=1, last=100, per_decade=10, groups=4)
    train(module, tmp_path, [probe], max_epochs=1)  # 8 steps
    record = probe.dataset()
    assert record["t"].values.tolist() == [0, 1, 2, 3, 4, 5, 6]
    G = module.gradients(module.batches[6:8], module.before[6])
    assert record["D"].sel(t=6).item() == pytest.approx(G.var(0).mean().item(), rel=1e-5)
    assert "the noise at step 8 is not in the record" in caplog.text


def test_the_covariance_of_consecutive_batches(tmp_path):
    module, probe = Watched(), NoiseSpectrum(first=2, last=2, k=2, random_vectors=2, groups=5)
    train(module, tmp_path, [probe], max_epochs=1)
    record = probe.dataset().sel(t=2).isel(replica=0)
    C = torch.cov(module.gradients(module.batches[2:7], module.before[2]).mT)
    expected = torch.linalg.eigvalsh(C).flip(0)[:2]
    assert record["eigenvalues"].values == pytest.approx(expected.numpy(), rel=1e-4)
    assert record["trace"].item() == pytest.approx(C.trace().item(), rel=1e-5)


def test_of_all_data(tmp_path):
    """8 random batches of 8 out of 64 samples: D is unbiased for a run that shuffles them."""
    module = Watched()
    probe = GradientNoise(first=1, last=1, data="train")
    trainer = train(module, tmp_path, [probe], max_epochs=1)
    data = trainer.train_dataloader.dataset
    x, y = data.tensors
    samples = module.gradients([(x[k : k + 1], y[k : k + 1]) for k in range(64)], module.before[0])
    exact = samples.var(0).mean().item() * (64 - 8) / (64 * 8)
    estimates = []
    for seed in range(64):
        order = Stream(seed, "order of the data").permutation(64, 0)
        G = samples[order].view(8, 8, -1).mean(1)
        estimates.append(G.var(0).mean().item() * 8 * (64 - 8) / (64 * 8))
    assert probe.results["D"][0].item() == pytest.approx(estimates[0], rel=1e-5)
    error = np.std(estimates) / 8
    assert abs(np.mean(estimates) - exact) < 4 * error
    # the mean over all data is the gradient itself
    square = samples.mean(0).square().mean().item()
    assert probe.results["gradient_square"][0].item() == pytest.approx(square, rel=1e-4)
    record = NoiseSpectrum(first=1, last=1, k=2, random_vectors=2, data="train")
    train(Watched(), tmp_path / "spectrum", [record], max_epochs=1)
    G = samples[Stream(0, "order of the data").permutation(64, 0)].view(8, 8, -1).mean(1)
    values = torch.linalg.eigvalsh(torch.cov(G.mT) * (64 - 8) / 64).flip(0)[:2]
    assert record.results["eigenvalues"][0, 0].numpy() == pytest.approx(values.numpy(), rel=1e-4)


def test_parts_that_do_not_make_up_the_batch_are_refused(tmp_path):
    def only_some(batch):
        return [[part[k : k + 2] for part in batch] for k in (0, 2)]

    probe = GradientNoise(first=1, last=1, split_fn=only_some, strict=True)
    with pytest.raises(UsageError, match="mean of the losses of its 2 parts"):
        train(Watched(), tmp_path, [probe], max_epochs=1)
    with pytest.raises(UsageError, match="split_fn = rows"):
        GradientNoise(split_fn="rows")
    with pytest.raises(UsageError, match="does not go with data"):
        GradientNoise(split_fn=only_some, data="train")


def test_a_batch_without_tensors_is_refused():
    with pytest.raises(UsageError, match="batch = list"):
        cut(["a", "b"], 2)


def test_what_has_no_noise_is_refused(tmp_path):
    quadratic = LandscapeModule(Quadratic([1.0]), lambda params: torch.optim.SGD(params, lr=LR))
    with pytest.raises(UsageError, match="uses all data at every step"):
        fit(quadratic, GradientNoise(), 2, tmp_path)
    with pytest.raises(UsageError, match="energy = Quadratic"):
        fit(quadratic, GradientNoise(batches=Batches(4)), 2, tmp_path)
    with pytest.raises(UsageError, match="batch_size = 41"):
        fit(run(), GradientNoise(batches=Batches(41)), 2, tmp_path)
    with pytest.raises(UsageError, match="samples = 1"):
        GradientNoise(samples=1)
    with pytest.raises(UsageError, match="groups = 1"):
        GradientNoise(groups=1)
    with pytest.raises(UsageError, match="k = 1000"):
        fit(run(), NoiseSpectrum(k=1000), 2, tmp_path)


class TestCuts:
    Pair = namedtuple("Pair", "x y")

    @dataclass(frozen=True)
    class Data:
        x: torch.Tensor
        y: torch.Tensor

    class Own(dict):
        of = "mine"

    @pytest.mark.parametrize("container", [Pair, Data, Own, UserDict])
    def test_parts_have_the_type_of_the_batch(self, container):
        x, y = torch.arange(6.0), torch.tensor(1.0)
        batch = container(x, y) if container in (self.Pair, self.Data) else container(x=x, y=y)
        parts = cut([batch, "name"], 3)
        assert all(type(part[0]) is container and part[1] == "name" for part in parts)
        values = [p[0].x if container in (self.Pair, self.Data) else p[0]["x"] for p in parts]
        assert torch.cat(values).equal(x) and [len(v) for v in values] == [2, 2, 2]

    def loss(self, f):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 1), torch.nn.Dropout(0.5))
        return net, lambda batch: f(net, batch).reshape(1)

    @pytest.mark.parametrize("parts", [2, 3, 5, 8])
    def test_a_mean_over_samples_is_accepted_with_dropout_and_remainders(self, parts):
        net, loss = self.loss(lambda net, x: net(x).square().mean())
        require_mean_of_parts(loss, net, torch.randn(8, 4), parts)
        assert net.training and net[1].training

    def test_sums_over_samples_and_times_first_are_refused(self):
        net, loss = self.loss(lambda net, x: net(x).square().sum())
        with pytest.raises(UsageError, match="mean of the losses of its 4 parts"):
            require_mean_of_parts(loss, net, torch.randn(8, 4), 4)
        net, loss = self.loss(lambda net, b: (net(b[0]).mean(0)[:, 0] - b[1]).square().mean())
        with pytest.raises(UsageError, match=r"lengths \[6, 16\]"):
            require_mean_of_parts(loss, net, (torch.randn(6, 16, 4), torch.randn(16)), 6)
        with pytest.raises(UsageError, match="the parts are not made of samples"):
            require_mean_of_parts(loss, net, (torch.randn(6, 6, 4), torch.randn(6)), 6)

    def test_a_split_fn_makes_the_parts_of_what_cannot_be_cut(self, tmp_path):
        """Times first: D is the variance of the gradients of sequences over their number."""
        x = torch.randn(6, 16, 4, generator=torch.Generator().manual_seed(0))
        y, seen = x.sum((0, 2)), []

        class OfSequences(Classifier):
            def __init__(self):
                super().__init__()
                self.net = torch.nn.Linear(4, 1)

            def training_step(self, b, batch_idx):
                return (self.net(b["x"]).mean(0)[:, 0] - b["y"]).square().mean()

            def on_train_start(self):
                for part in split({"x": x, "y": y}):
                    loss = self.training_step(part, 0)
                    gradient = torch.autograd.grad(loss, self.parameters())
                    seen.append(torch.cat([g.flatten() for g in gradient]))

        def split(batch):
            return [{"x": batch["x"][:, k : k + 1], "y": batch["y"][k : k + 1]} for k in range(16)]

        probe = GradientNoise(first=50, last=51, split_fn=split)
        loader = DataLoader([{"x": x, "y": y}], batch_size=None)
        bare_trainer([probe], 1, tmp_path).fit(OfSequences(), loader)
        noise = torch.stack(seen).double().var(0).mean() / 16
        assert probe.results["D"][0].item() == pytest.approx(noise.item(), rel=1e-5)
