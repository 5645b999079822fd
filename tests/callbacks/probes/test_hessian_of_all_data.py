"""HessianSpectrum of all data of a foreign project, and of its layers."""

import math
import warnings

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from lightning_landscape.callbacks import GradientNoise, HessianSpectrum, NoiseSpectrum
from lightning_landscape.callbacks.all_data import AllData
from lightning_landscape.callbacks.mean_over_data import hessian_of_data
from lightning_landscape.callbacks.view import View
from lightning_landscape.energies import Quadratic
from lightning_landscape.errors import UsageError
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.rng import Stream
from lightning_landscape.testing.probe import Classifier, bare_trainer, last_record, train

EVERYTHING = DataLoader(TensorDataset(torch.randn(20, 8), torch.arange(20) % 2), batch_size=8)


class Regression(pl.LightningModule):
    """MSE of a linear map of float64 inputs, after batch norm if asked for."""

    def __init__(self, norm=False):
        super().__init__()
        torch.manual_seed(0)
        layers = [nn.BatchNorm1d(3, affine=False)] if norm else []
        self.net = nn.Sequential(*layers, nn.Linear(3, 1, bias=False)).double()

    def training_step(self, batch, batch_idx):
        return nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def normal(n, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, 1, generator=generator, dtype=torch.float64)


def probe(**options):
    return HessianSpectrum(last=1, per_decade=1, k=2, max_share=math.inf, strict=True, **options)


def fit(module, folder, loader, measured, val=None):
    options = {"limit_val_batches": 0} if val is None else {"num_sanity_val_steps": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Lightning says of small loaders
        bare_trainer([measured], 2, folder, **options).fit(module, loader, val)
    return last_record(folder, "hessian_spectrum")


class TestOfARegression:
    """H = 2 X^T X / n, with batches of 4, 4 and 2 samples."""

    def eigenvalues(self, x):
        return torch.linalg.eigvalsh(2 * x.mT @ x / len(x)).numpy()

    @pytest.mark.parametrize("drop_last", [False, True])
    def test_of_the_training_data(self, drop_last, tmp_path):
        x, y = normal(10, seed=1)
        loader = DataLoader(TensorDataset(x, y), 4, shuffle=True, drop_last=drop_last)
        record = fit(Regression(), tmp_path, loader, probe(data="train"))
        for t in range(2):
            found = record.isel(t=t, replica=0)
            assert found["eigenvalues"].values == pytest.approx(self.eigenvalues(x), rel=1e-12)
        assert record.attrs["data"] == "train"

    @pytest.mark.parametrize("give", [True, False])
    def test_of_other_data(self, give, tmp_path):
        x, y = normal(10, seed=1)
        loader, other = (DataLoader(TensorDataset(*of), 4) for of in ((x, y), normal(7, seed=2)))
        val = None if give else DataLoader(other.dataset, 3)
        measured = probe(data=other if give else "val")
        record = fit(Regression(), tmp_path, loader, measured, val).isel(t=-1, replica=0)
        expected = self.eigenvalues(other.dataset.tensors[0])
        assert record["eigenvalues"].values == pytest.approx(expected, rel=1e-12)

    def test_of_a_subset(self, tmp_path):
        x, y = normal(10, seed=1)
        sampler = SubsetRandomSampler([7, 1, 2, 5, 9])
        loader = DataLoader(TensorDataset(x, y), 2, sampler=sampler)
        record = fit(Regression(), tmp_path, loader, probe(data="train")).isel(t=0, replica=0)
        expected = self.eigenvalues(x[[7, 1, 2, 5, 9]])
        assert record["eigenvalues"].values == pytest.approx(expected, rel=1e-12)

    def test_the_batch_is_beside_it(self, tmp_path):
        x, y = normal(10, seed=1)
        loader = DataLoader(TensorDataset(x, y), 4)
        record = fit(Regression(), tmp_path, loader, probe(data="train")).isel(replica=0)
        expected = [self.eigenvalues(batch)[-1] for batch in (x[:4], x[:4])]
        assert record["batch_highest"].values == pytest.approx(expected, rel=1e-6)
        assert record["batch_highest_converged"].all()

    @pytest.mark.parametrize("mode", ["train", "eval"])
    def test_batch_norm_in_both_modes(self, mode, tmp_path):
        """At time 0 the running statistics are 0 and 1, to 1e-5 in the variance."""
        x, y = normal(10, seed=1)
        loader = DataLoader(TensorDataset(x, y), 4)
        record = fit(Regression(norm=True), tmp_path, loader, probe(data="train", mode=mode))
        if mode == "eval":
            H = 2 * x.mT @ x / 10 / (1 + 1e-5)
        else:
            parts = x.split(4)
            scaled = [(p - p.mean(0)) / (p.var(0, correction=0) + 1e-5).sqrt() for p in parts]
            H = sum(2 * s.mT @ s for s in scaled) / 10
        expected = torch.linalg.eigvalsh(H).numpy()
        assert record["eigenvalues"].isel(t=0, replica=0).values == pytest.approx(expected)
        assert record.attrs["mode"] == mode

    def test_two_ranks_with_shares_of_different_size(self, tmp_path):
        """11 samples: each counts once, and by its own weight; D is that of all single samples."""
        x, y = normal(11, seed=1)
        loader = DataLoader(TensorDataset(x, y), 4)
        measured = [
            probe(data=DataLoader(TensorDataset(x, y), 4)),
            GradientNoise(last=1, data=DataLoader(TensorDataset(x[:10], y[:10]), 1), strict=True),
            NoiseSpectrum(
                last=1, k=2, data=DataLoader(TensorDataset(x[:10], y[:10]), 1), strict=True
            ),
        ]
        start = Regression().net[0].weight.detach().clone()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Lightning says of small loaders, and of forks
            trainer = bare_trainer(measured, 2, tmp_path, strategy="ddp_fork", devices=2)
            trainer.fit(Regression(), loader)
        found = last_record(tmp_path, "hessian_spectrum").isel(t=0, replica=0)
        assert found["eigenvalues"].values == pytest.approx(self.eigenvalues(x), rel=1e-12)
        noise = last_record(tmp_path, "gradient_noise").isel(t=0, replica=0)
        residual = x[:10] @ start.mT - y[:10]
        G = 2 * residual * x[:10]
        variance = G.var(0).mean().item()
        B, P = 8, 10  # samples of both ranks in a step, drawn without replacement
        # each rank takes the covariance of its own samples, every second of a random order
        shares = Stream(0, "order of the data").permutation(10, 0).view(5, 2)
        within = sum(torch.cov(G[share].mT) for share in shares.mT) / 2
        expected = torch.linalg.eigvalsh(within).flip(0)[:2] * (1 / B - 1 / P)
        spectrum = last_record(tmp_path, "noise_spectrum").isel(t=0, replica=0)
        assert spectrum["eigenvalues"].values == pytest.approx(expected.numpy(), rel=1e-6)
        trace = within.trace().item() * (1 / B - 1 / P)
        assert spectrum["trace"].item() == pytest.approx(trace, rel=1e-6)
        curved = self.eigenvalues(x[:10])[::-1][:2]
        assert spectrum["curvatures"].values == pytest.approx(curved, rel=1e-6)
        assert noise["D"].item() == pytest.approx(variance * (1 / B - 1 / P), rel=1e-6)


def test_shuffled_data_have_one_random_order_and_others_their_own():
    x = torch.arange(10.0)

    def order(loader, seed=None):
        return torch.cat([item.batch[0] for item in AllData(loader, seed)]).tolist()

    plain, shuffled = (DataLoader(TensorDataset(x), 4, shuffle=yes) for yes in (False, True))
    assert order(plain) == x.tolist()
    assert order(plain, seed=0) != x.tolist()
    first = order(shuffled)
    assert first != x.tolist() and sorted(first) == x.tolist()
    assert order(shuffled) == first


def test_a_product_evaluates_each_batch_once():
    x, y = normal(10, seed=1)
    calls = []

    def loss_fn(module, batch):
        calls.append(len(batch[0]))
        return nn.functional.mse_loss(module.net(batch[0]), batch[1])

    view = View(Regression(), None, 0, loss_fn)
    with view.measuring():
        operator = hessian_of_data(view, AllData(DataLoader(TensorDataset(x, y), 4)))
        calls.clear()
        product = operator @ torch.eye(3, dtype=torch.float64)
    assert product.numpy() == pytest.approx((2 * x.mT @ x / 10).numpy(), rel=1e-12)
    assert calls == [4, 4, 2]


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_training_loader_goes_on_as_without(mode, tmp_path):
    """Its order, the masks and the running statistics, over three shuffled epochs."""
    without, module = Classifier(), Classifier()
    train(without, tmp_path / "a", [])
    measured = probe(data="train", mode=mode, layers=True)
    measured.times = type(measured.times).at([11])
    train(module, tmp_path / "b", [measured])
    assert measured.results["step"].tolist() == [11]
    for name, value in without.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


def test_layers_are_the_dense_blocks(tmp_path):
    module, batch = Classifier().double().eval(), next(iter(EVERYTHING))
    batch = [batch[0].double(), batch[1]]
    view = View(module, batch, 0)
    record = probe(layers=True).record(view).isel(t=0, replica=0)
    with view.measuring():
        H = view.hessian().dense()[0]
    first = 0
    for name, p in module.named_parameters():
        part = slice(first, first + p.numel())
        expected = torch.linalg.eigvalsh(H[part, part]).flip(0)[:2].numpy()
        found = record["part_highest"].sel(part=name)
        assert found.values == pytest.approx(expected, rel=1e-5, abs=1e-9), name
        first = part.stop
    assert first == H.shape[0]


class TestRefusals:
    def test_batch_norm_over_ranks_in_the_mode_of_training(self, tmp_path):
        module = Regression()
        module.norm = nn.SyncBatchNorm(3)
        loader = DataLoader(TensorDataset(*normal(10, seed=1)), 4)
        with pytest.raises(UsageError, match=r"SyncBatchNorm.*mode = eval"):
            fit(module, tmp_path, loader, probe(data="train"))

    def message(self, loader, tmp_path, data="train"):
        with pytest.raises(UsageError) as caught:
            fit(Regression(), tmp_path, loader, probe(data=data))
        return str(caught.value)

    def test_a_sampler_with_weights(self, tmp_path):
        dataset = TensorDataset(*normal(10, seed=1))
        loader = DataLoader(dataset, 4, sampler=WeightedRandomSampler([1.0] * 10, 10))
        assert "WeightedRandomSampler" in self.message(loader, tmp_path)

    def test_no_validation_data(self, tmp_path):
        loader = DataLoader(TensorDataset(*normal(10, seed=1)), 4)
        assert "no loader" in self.message(loader, tmp_path, "val")

    def test_another_name(self, tmp_path):
        loader = DataLoader(TensorDataset(*normal(10, seed=1)), 4)
        assert "must be a DataLoader" in self.message(loader, tmp_path, "test")

    def test_a_mode_that_there_is_not(self):
        with pytest.raises(UsageError, match="mode"):
            probe(mode="evaluation")

    @pytest.mark.parametrize("options", [{"data": "train"}, {"mode": "eval"}])
    def test_an_energy_has_its_own_data(self, options, tmp_path):
        module = LandscapeModule(Quadratic([1.0, 2.0]), torch.optim.SGD)
        with pytest.raises(UsageError, match="an Energy has"):
            bare_trainer([probe(**options)], 1, tmp_path).fit(module)
