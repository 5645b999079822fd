"""Diagnosis in a project of others, and its verdicts from records."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from xarray import Dataset

from lightning_landscape.callbacks import Diagnosis
from lightning_landscape.callbacks.diagnosis import budget
from lightning_landscape.cli.report.runs import find_runs, read
from lightning_landscape.results.diagnosis import table, verdicts
from lightning_landscape.testing.foreign import Tiny
from lightning_landscape.testing.probe import bare_trainer, train


def record(**variables):
    t = np.arange(1.0, 1 + len(next(iter(variables.values()))))
    data = {name: (("t", "replica"), np.asarray(v, float)) for name, v in variables.items()}
    return Dataset(data, {"t": t}, {"bound": "2/lr"})


@pytest.mark.parametrize(
    ("edge", "stands"),
    [
        ([[0.3, 0.31, 0.29]] * 3, "stable"),
        ([[1.0, 1.02, 0.99]] * 3, "at the edge"),
        ([[2.0, 2.1, 1.9]] * 3, "beyond the edge"),
        ([[0.2, 1.4, 0.9]] * 3, "cannot tell"),
    ],
)
def test_a_verdict_never_contradicts_its_error_bar(edge, stands):
    (verdict,) = verdicts({"EdgeOfStability": record(edge=edge)})
    assert verdict.stands.startswith(stands)
    assert verdict.value == pytest.approx(np.mean(edge))


def test_a_gradient_lost_in_noise_has_no_scale():
    """Where |∇E|^2 is not told from 0 the scale is nan, and nothing is claimed of it."""
    dataset = record(noise_scale=[[np.nan, np.nan]]).assign_attrs(batch_size=32)
    (verdict,) = verdicts({"GradientNoise": dataset})
    assert verdict.stands == "cannot tell"
    assert "lost in the noise" in verdict.advice


@pytest.mark.parametrize(
    ("scale", "stands"),
    [
        ([[1000, 1010]], "noise dominates"),
        ([[4.0, 4.1]], "the gradient dominates"),
        ([[40, 41]], "near the best"),
        ([[10, 400]], "cannot tell"),
        ([[40.0]], "cannot tell"),
    ],
)
def test_the_batch_against_the_noise_scale(scale, stands):
    dataset = record(noise_scale=scale).assign_attrs(batch_size=32)
    (verdict,) = verdicts({"GradientNoise": dataset})
    assert verdict.stands.startswith(stands)


def test_other_records_have_no_verdict():
    assert verdicts({"AgingCorrelation": record(edge=[[1.0]])}) == []


def test_one_callback_changes_nothing_and_ends_with_a_table(tmp_path, caplog):
    plain, diagnosed = Tiny(), Tiny()
    train(plain, tmp_path / "plain", [], max_epochs=4)
    callback = Diagnosis(max_share=20.0)
    train(diagnosed, tmp_path / "diagnosed", [callback], max_epochs=4)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, diagnosed.state_dict()[name])
    assert any("no forward" in sentence for sentence in callback.left_out)
    questions = [v.question for v in callback.verdicts]
    assert questions[0] == "Is the learning rate near the edge?"
    (noise,) = (v for v in callback.verdicts if v.question == "Is the batch larger than useful?")
    assert noise.bound.endswith("B = 8 samples")
    assert table(callback.verdicts).count("\n") == len(questions) + 1


def test_a_run_too_short_for_its_share_is_told(tmp_path):
    callback = Diagnosis()
    train(Tiny(), tmp_path, [callback], max_epochs=1)
    assert any("nothing is measured" in sentence for sentence in callback.left_out)


class Deep(Tiny):
    """A network whose signals pass layers, with three classes."""

    def __init__(self):
        super().__init__()
        sizes = torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
        self.net = torch.nn.Sequential(*sizes)

    def forward(self, x):
        return self.net(x)


def test_the_start_counts_and_what_the_clock_does_not_allow_is_told(tmp_path, monkeypatch):
    """Of half of 50 steps 2.5 gradients are for the signals, and as many for the classes: 2 each.

    Where records take longer than the share, nothing is measured once the time of a step is known.
    """
    monkeypatch.setattr(budget, "_FIXED", 1e6)
    monkeypatch.setattr(budget, "_LEAST", 0.0)
    x = torch.randn(50, 6, 4, generator=torch.Generator().manual_seed(0))
    loader = DataLoader([(one, one[:, :3].argmax(1)) for one in x], batch_size=None)
    callback = Diagnosis(max_share=0.5)
    bare_trainer([callback], 50, tmp_path).fit(Deep(), loader)
    questions = {v.question for v in callback.verdicts}
    assert "Does the signal get through at initialization?" in questions
    assert "Are classes guessed alike at initialization?" in questions
    for question in ("Is it stationary?", "Is the batch larger than useful?"):
        assert question not in questions
        assert any(said.startswith(question) and "into max_share of the run's time" in said
                   for said in callback.left_out)  # fmt: skip
    (folder,) = find_runs(tmp_path)
    assert not list((folder / "probes").glob("*.png"))
    (run,) = read([folder])
    assert "K_exact" in run.datasets["Criticality"]


class Watched:
    """A part of a diagnosis with measurements at known steps."""

    def __init__(self, name, weight, price, seconds, last):
        self.name, self.weight, self.price, self.seconds = name, weight, price, seconds
        self.last = last

    def next_event(self, step):
        return self.last if step < self.last else None


def test_what_one_part_leaves_over_is_for_the_others(monkeypatch):
    """100 steps took 100.5 s with 0.5 s of measurements: 5 % of 1000 s, less 0.4 s, are left."""
    now = [0.0]
    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])
    over, edge, noise = parts = [
        Watched("start", 0.2, 1.0, 0.2, 0),
        Watched("edge", 0.6, 5.0, 0.3, 900),
        Watched("noise", 0.2, 2.0, 0.0, 900),
    ]
    of_run = budget.Budget(0.05, parts, 0, 1000)
    assert of_run.affords(over, 0) == float("inf")  # no step is done, no time known
    now[0] = 100.5
    pool = 0.05 * 1000 - 0.4 - 0.2
    assert of_run.affords(noise, 100) == int(pool * 0.25 / 2)
    of_run.looks["edge"] = 2  # at 0.15 s each
    assert of_run.affords(edge, 100) == int((pool * 0.75 - 0.3) / 0.15)
    edge.seconds = 60.0
    assert of_run.affords(edge, 100) == 0
