"""What all accumulators share: that they are metrics, alone, in a module, and over ranks."""

import ast
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torchmetrics import Metric

from lightning_landscape import observables
from lightning_landscape.errors import UsageError
from lightning_landscape.observables import (
    Blocking,
    BlockMoments,
    EnergySeries,
    GrowingHistogram,
    LogCounts,
    PowerSpectrum,
)
from lightning_landscape.observables.accumulators.moments import variance

FILES = sorted(Path(observables.__file__).parent.rglob("*.py"))
KINDS = ["moments", "blocking", "spectrum", "histogram", "log_counts", "series"]


def made(kind):
    return {
        "moments": lambda: BlockMoments((2,), length=4, blocks=8, statistic=variance),
        "blocking": lambda: Blocking((2,)),
        "spectrum": lambda: PowerSpectrum((2,), segment=16),
        "histogram": lambda: GrowingHistogram(2, bins=64),
        "log_counts": lambda: LogCounts(torch.logspace(-3, 1, 20), replicas=2),
        "series": lambda: EnergySeries(torch.tensor([1.0, 2.0]), segment=16),
    }[kind]()


def samples(kind, n=1000, seed=0):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x.T if kind == "log_counts" else x.cumsum(0) / 10 + x


def portions(kind, x, size):
    return x.split(size, dim=1 if kind == "log_counts" else 0)


def fed(kind, x, size):
    metric = made(kind)
    for part in portions(kind, x, size):
        metric.update(part)
    return metric


def numbers(value):
    """Return everything that was computed as one vector."""
    value = value.values() if isinstance(value, dict) else value
    parts = [value] if isinstance(value, torch.Tensor) else list(value)
    return torch.cat([part.double().flatten() for part in parts])


def same(a, b):
    torch.testing.assert_close(numbers(a), numbers(b), rtol=1e-10, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"histogram"}))
@pytest.mark.parametrize("size", [1, 37, 256])
def test_parts_give_what_the_whole_gives(kind, size):
    x = samples(kind)
    same(fed(kind, x, size).compute(), fed(kind, x, 1000).compute())


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_metric_is_a_new_one(kind):
    x = samples(kind)
    metric = fed(kind, x, 100)
    metric.reset()
    assert not metric.update_called
    assert all(torch.equal(v, made(kind).metric_state[k]) for k, v in metric.metric_state.items())
    for part in portions(kind, x, 100):
        metric.update(part)
    same(metric.compute(), fed(kind, x, 100).compute())


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_state_is_reset_to_nothing_and_shared_until_then(kind):
    """A checkpoint may hold the tensors themselves: `add` changes them in place."""
    x = samples(kind)
    kept = fed(kind, x, 100).metric_state
    metric = resumed(kind, kept)
    metric.add(x[:, :50] if kind == "log_counts" else x[:50])
    assert metric.update_called
    assert all(v is kept[k] for k, v in metric.metric_state.items())
    metric.reset()
    assert not metric.update_called and made(kind).metric_state.keys() == kept.keys()


def resumed(kind, state):
    return {
        "moments": lambda: BlockMoments((2,), 4, 8, state=state),
        "blocking": lambda: Blocking((2,), state=state),
        "spectrum": lambda: PowerSpectrum((2,), 16, state),
        "histogram": lambda: GrowingHistogram(2, 64, state),
        "log_counts": lambda: LogCounts(torch.logspace(-3, 1, 20), 2, state),
        "series": lambda: EnergySeries(torch.tensor([1.0, 2.0]), 16, state),
    }[kind]()


def of_rank(rank, kind):
    """Return what rank ``rank`` computes of both, and of its own again afterwards."""
    x = samples(kind, 400 + 300 * rank, seed=rank)
    metric = fed(kind, x, 100)
    alone = {k: v.clone() for k, v in metric.metric_state.items()}
    both = metric.compute()
    assert all(torch.equal(v, alone[k]) for k, v in metric.metric_state.items())
    with metric.sync_context():
        moments = metric.blocks if kind == "series" else metric
        error = moments.error(variance) if kind in ("moments", "series") else torch.zeros(1)
    return both, error


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_are_one_process_with_both_series(kind, two_ranks):
    expected = fed(kind, samples(kind, 400, 0), 100)
    expected.merge_state(fed(kind, samples(kind, 700, 1), 100))
    for both, error in two_ranks(of_rank, kind):
        same(both, expected.compute())
        if kind == "moments":
            same(error, expected.error(variance))


def test_what_two_ranks_know_is_that_of_all_samples(two_ranks):
    """The moments to rounding, the histogram to the last count."""
    x = torch.cat([samples("moments", 400, 0), samples("moments", 700, 1)])
    for both, _ in two_ranks(of_rank, "moments"):
        torch.testing.assert_close(both, x.var(0), rtol=1e-12, atol=0)
    for both, _ in two_ranks(of_rank, "series"):
        torch.testing.assert_close(both["mean"], x.mean(0), rtol=1e-11, atol=1e-14)
        assert both["least"].tolist() == x.amin(0).tolist()
        # what waits in the second rank has been worked on, what waits in the first has not
        assert both["counts"].sum(0).tolist() == [256 + 700] * 2
    edges, gaps = torch.logspace(-3, 1, 20).double(), [samples("log_counts", n, s) for n, s in
                                                       ((400, 0), (700, 1))]  # fmt: skip
    for both, _ in two_ranks(of_rank, "log_counts"):
        for r in range(2):
            positive = torch.cat([part[r] for part in gaps])
            assert both[r].tolist() == torch.histogram(positive, edges).hist.long().tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_merging_leaves_the_other_as_it_is_and_takes_a_state_too(kind):
    first, again, other = (fed(kind, samples(kind, 300, s), 50) for s in (0, 0, 1))
    before = {k: v.clone() for k, v in other.metric_state.items()}
    first.merge_state(other)
    again.merge_state(other.metric_state)
    assert all(torch.equal(v, before[k]) for k, v in other.metric_state.items())
    same(first.compute(), again.compute())
    empty = made(kind)
    empty.merge_state(other)
    if kind != "series":  # where values wait
        same(empty.compute(), other.compute())


def test_what_does_not_belong_together_is_not_merged():
    with pytest.raises(UsageError, match="incoming_state = Blocking: must be a PowerSpectrum"):
        made("spectrum").merge_state(made("blocking"))
    with pytest.raises(UsageError, match=r"shape = .*must be"):
        PowerSpectrum((2,), segment=8).merge_state(made("spectrum"))
    with pytest.raises(UsageError, match="edges"):
        made("log_counts").merge_state(LogCounts(torch.logspace(-4, 1, 20), replicas=2))
    with pytest.raises(UsageError, match="units"):
        made("series").merge_state(EnergySeries(torch.ones(2), segment=16))
    with pytest.raises(UsageError, match="length = 3: must be 4 over a power of two"):
        made("moments").merge_state(BlockMoments((2,), length=3, blocks=8))
    with pytest.raises(UsageError, match="must have the keys"):
        Blocking((2,), state=made("spectrum").metric_state)


@pytest.mark.parametrize("lower", ["half", "float", "bfloat16", "to"])
def test_the_precision_of_a_module_is_not_that_of_its_metrics(lower):
    module = torch.nn.Module()
    module.metric, module.weight = made("series"), torch.nn.Parameter(torch.ones(1))
    before = {k: v.dtype for k, v in module.metric.metric_state.items()}
    module.to(torch.float16) if lower == "to" else getattr(module, lower)()
    assert {k: v.dtype for k, v in module.metric.metric_state.items()} == before
    module.metric.update(samples("series"))
    module.metric.reset()
    assert {k: v.dtype for k, v in module.metric.metric_state.items()} == before
    if lower != "to":
        return
    assert module.to("meta").metric.waiting.device.type == "meta"
    lowered = made("moments").set_dtype(torch.float32)
    assert lowered.moments.dtype == torch.float32
    lowered.update(samples("moments"))
    assert lowered.compute().tolist() == pytest.approx(samples("moments").var(0).tolist(), rel=1e-4)


class Logs(pl.LightningModule):
    """Logs the variance of its data and their autocorrelation time, as a user would."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.variance, self.tau = BlockMoments(statistic=variance), Blocking()
        self.moments = EnergySeries(torch.ones(1), segment=16)

    def training_step(self, batch, batch_idx):
        (x,) = batch
        self.variance(x)
        self.tau.update(x)
        self.moments.update(x[:, None])
        self.log("variance", self.variance, on_step=True, on_epoch=True)
        self.log("tau", self.tau, on_step=False, on_epoch=True)
        return self.weight.square().sum()

    def on_train_epoch_end(self):
        found = self.moments.compute()
        self.log_dict({name: found[name].item() for name in ("mean", "skewness")})
        self.moments.reset()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_module_logs_them(tmp_path):
    x = torch.randn(400)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=30)
    trainer = pl.Trainer(
        max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, accelerator="cpu",
    )  # fmt: skip
    module = Logs()
    trainer.fit(module, data)
    logged = trainer.callback_metrics
    assert logged["variance_epoch"].item() == pytest.approx(x.double().var().item(), rel=1e-6)
    assert logged["variance_step"].item() == pytest.approx(x[390:].double().var().item(), rel=1e-6)
    expected = Blocking()
    expected.update(x)
    assert logged["tau"].item() == pytest.approx(expected.compute().item(), rel=1e-6)
    assert logged["mean"].item() == pytest.approx(x.double().mean().item(), rel=1e-5)
    assert not module.variance.update_called  # Lightning resets what it logs


def test_a_state_is_saved_with_a_module_that_asks_for_it():
    metric = fed("series", samples("series"), 100)
    metric.persistent(True)
    again = made("series")
    again.persistent(True)
    again.load_state_dict(metric.state_dict())
    same(again.compute(), metric.compute())
    assert isinstance(again, Metric)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_observables_import_no_torchmetrics_until_one_accumulates(path):
    """It takes more than a second, and most observables do without."""
    if path.parent.name == "accumulators":
        return
    imported = [n.module for n in ast.parse(path.read_text()).body if isinstance(n, ast.ImportFrom)]
    assert not [name for name in imported if "accumulators" in name or "torchmetrics" in name]
