"""Bad input of every kind: status 2, a few lines that name the key, no folder left behind."""

import copy
import random
from pathlib import Path

import pytest
import torch
import yaml

from lightning_landscape.__main__ import main

GOOD = {
    "seed_everything": 0,
    "experiment": "small",
    "model": {
        "energy": {
            "class_path": "SphericalPSpin",
            "init_args": {"N": 8, "p": 3, "replicas": 2, "seed": 1},
        },
        "optimizer": {"class_path": "Langevin", "init_args": {"lr": 0.02, "temperature": 0.3}},
        "block_size": 10,
    },
    "trainer": {
        "max_steps": 5,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "callbacks": [
            {"class_path": "EnergyRelaxation", "init_args": {"first": 0.02, "last": 0.1}},
            {
                "class_path": "AgingCorrelation",
                "init_args": {"waiting_times": [0.02], "first": 0.02, "last": 0.06},
            },
        ],
    },
}
MOST_LINES = 6


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def changed(path, value):
    """GOOD with ``value`` at ``path``, whose parts are separated by dots."""
    config = copy.deepcopy(GOOD)
    level = config
    *place, key = path.split(".")
    for part in place:
        level = level[int(part)] if isinstance(level, list) else level[part]
    level[int(key) if isinstance(level, list) else key] = value
    return config


def refused(content, capsys, *options):
    """Return what ``fit`` says of a file that it refuses."""
    Path("small.yaml").write_bytes(content)
    assert main(["fit", "--config", "small.yaml", *options]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: ")
    assert error.count("\n") <= MOST_LINES and "Traceback" not in error
    assert not Path("logs").exists()
    return error


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"experiment: a\nexperiment: b\n", "experiment: is given twice, again in line 2"),
        (b"model: {block_size: 1, block_size: 2}", "block_size: is given twice"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "small.yaml: is no UTF-8 text, at byte 0"),
        ("experiment: é\n".encode("latin-1"), "small.yaml: is no UTF-8 text, at byte 12"),
        (b"model: [", "small.yaml: is no YAML"),
        (b"a: \x00", "small.yaml: is no YAML"),
        (b"experiment: &a [*a]", "small.yaml: is no YAML"),
        (b"model: &a {energy: *a}", "small.yaml: is no YAML"),
        (b"[1, 2]", "small.yaml: must be a mapping"),
        (b"1: 2", "small.yaml: must be a mapping"),
        (b"", "small.yaml: must be a mapping"),
        (b"a: " + b"[" * 3000, "small.yaml: is no YAML"),
        (b"#" * 10**6 + b"\n", "small.yaml: has 1000001 bytes"),
        (b"a: !!python/object/apply:os.system [ls]", "small.yaml: is no YAML"),
        (b"a: 2026-99-99", "small.yaml: is no YAML"),
    ],
)
def test_a_file_that_is_no_configuration(content, sentence, capsys):
    assert sentence in refused(content, capsys)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("trainer.accelerator", "quantum", "trainer"),
        ("trainer.devices", 0, "trainer"),
        ("trainer.devices", 7000, "trainer.devices = 7000: this machine has"),
        ("trainer.devices", "many", "trainer"),
        ("trainer.strategy", "fsdp", "trainer.strategy = fsdp: is not supported"),
        ("trainer.strategy", "deepspeed", "trainer.strategy = deepspeed: is not supported"),
        ("trainer.strategy", "best", "trainer.strategy = best: is not supported"),
        ("trainer.gradient_clip_val", 1.0, "trainer.gradient_clip_val = 1.0"),
        ("trainer.accumulate_grad_batches", 2, "trainer.accumulate_grad_batches = 2"),
        ("trainer.limit_train_batches", 3, "trainer.limit_train_batches = 3"),
        ("trainer.limit_train_batches", 0, "trainer.limit_train_batches = 0"),
        ("trainer.overfit_batches", 1, "trainer.overfit_batches = 1"),
        ("trainer.fast_dev_run", True, "trainer.fast_dev_run = True"),
        ("trainer.max_epochs", 0, "trainer.max_epochs = 0"),
        ("trainer.max_steps", 0, "trainer.max_steps = 0"),
        ("trainer.max_steps", -5, "trainer.max_steps = -5: the run would never end"),
        ("trainer.precision", "3-bit", "trainer"),
        ("trainer.logger", True, "trainer.logger = True"),
        ("trainer.callbacks.0.init_args.last", float("inf"), "init_args.last = inf: must be fin"),
        ("trainer.callbacks.0.init_args.first", float("nan"), "init_args.first = nan: must be"),
        ("trainer.callbacks.0.init_args.per_decade", 10**8, "per_decade = 100000000: must be at"),
        ("trainer.callbacks.1.init_args.waiting_times", [1, float("inf")], "waiting_times = [1"),
        ("trainer.callbacks.1.init_args.waiting_times", [], "waiting_times"),
        ("trainer.callbacks.1.init_args.waiting_times", None, "waiting_times = None"),
        (
            "trainer.callbacks.1.init_args.waiting_times",
            "abc",
            "trainer.callbacks.waiting_times = abc: must be a list, as in [1, 2]",
        ),
        ("trainer.callbacks.0.init_args.first", "abc", "callbacks.first = abc: must be a number"),
        ("trainer.callbacks.0.init_args.per_decade", 1.5, "per_decade = 1.5: must be a whole numb"),
        ("trainer.callbacks.0.init_args", [1], "init_args must be a mapping of arguments to val"),
        ("trainer.callbacks", 5, "trainer.callbacks: must be a Callback, named by class_path"),
        ("model.optimizer", 5, "model.optimizer: must be an Optimizer, named by class_path"),
        ("model.$", 5, "model.$: there is no such option"),
        ("trainer.strategy", {"class_path": "FSDPStrategy"}, "FSDPStrategy: is not supported"),
        (
            "model.optimizer",
            {"class_path": "torch.optim.LBFGS", "init_args": {"lr": 0.1}},
            "optimizer = LBFGS: its line search is one for all replicas, and leaves a sphere",
        ),
        ("trainer.callbacks.1.init_args.lats", 3, "AgingCorrelation has no argument lats"),
        ("trainer.callbacks.0", {"class_path": "SphericalPSpin"}, "trainer.callbacks"),
        ("seed_everything", -1, "seed_everything = -1"),
        ("seed_everything", 2**40, "seed_everything = 1099511627776"),
        ("model.energy.init_args.replicas", 10**11, "replicas = 100000000000: needs 1.6e+04 GB"),
        ("model.energy.init_args.N", float("nan"), "N"),
        (
            "model.optimizer",
            {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1, "nesterov": True}},
            "model.optimizer: ValueError: Nesterov momentum requires",
        ),
        ("model.optimizer.init_args.lr", float("nan"), "lr"),
        ("model.optimizer.init_args.temperature", float("inf"), "temperature"),
        ("model.block_size", 0, "block_size = 0"),
        ("checkpoint", {"seconds": -1}, "checkpoint.seconds = -1"),
        ("experiment", "../a", "experiment = ../a"),
        ("experiment", "a" * 300, "File name too long"),
    ],
)
def test_a_value_that_makes_no_sense(path, value, sentence, capsys):
    assert sentence in refused(yaml.safe_dump(changed(path, value)).encode(), capsys)


@pytest.mark.parametrize("content", [b"", b"text", "other"])
def test_a_checkpoint_that_is_none(content, capsys):
    if content == "other":
        torch.save({"state_dict": {}, "global_step": 3}, "given.ckpt")
    else:
        Path("given.ckpt").write_bytes(content)
    said = refused(yaml.safe_dump(GOOD).encode(), capsys, "--ckpt_path=given.ckpt")
    assert "ckpt_path = given.ckpt: is damaged, or no checkpoint" in said


WORDS = ["energy", "N", "lr", "os.system", "Langevin", "first", "class_path", "", "é", "\x07", "$"]
VALUES = [None, True, -1, 0, 3, 1.5, 1e30, float("inf"), float("nan"), [], {}, [[]], [None], "1e3"]


def some_value(source, depth=0):
    """Return a value of any kind, nested at most three deep."""
    kind = source.randrange(5 if depth < 3 else 3)
    if kind == 3:
        return [some_value(source, depth + 1) for _ in range(source.randrange(3))]
    if kind == 4:
        return {w: some_value(source, depth + 1) for w in source.sample(WORDS, 2)}
    return source.choice(WORDS if kind == 2 else VALUES)


def places(value):
    """Yield each container of a configuration with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        yield value, key
        if isinstance(part, dict | list):
            yield from places(part)


def mutated(seed):
    """Return GOOD after one or two changes at random places, as the text of a file."""
    source, config = random.Random(seed), copy.deepcopy(GOOD)
    for _ in range(source.randint(1, 2)):
        level, key = source.choice(list(places(config)))
        change = source.randrange(4)
        if change == 0 and isinstance(level, dict):
            level[source.choice(WORDS)] = level.pop(key)
        elif change == 1:
            del level[key]
        else:
            level[key] = some_value(source)
    text = yaml.safe_dump(config)
    if source.randrange(8) == 0:  # cut, or with a character that is none of its own
        cut = source.randrange(len(text))
        text = (
            text[:cut] + source.choice(["", "\x00", "\t", ": ", "[", "&a", "*a"]) + text[cut + 1 :]
        )
    return text


def check_fuzzed(seed, capsys):
    name = f"logs{seed}"
    Path("fuzzed.yaml").write_text(mutated(seed))
    status = main(["fit", "--config", "fuzzed.yaml", f"--trainer.logger.save_dir={name}"])
    error = capsys.readouterr().err
    assert status in (0, 2), mutated(seed)
    if status == 2:
        lines = [line for line in error.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and error.count("\n") <= MOST_LINES, mutated(seed)
        assert not Path(name).exists(), mutated(seed)


@pytest.mark.parametrize("seed", range(12))
def test_a_mutated_configuration_runs_or_is_refused(seed, capsys):
    check_fuzzed(seed, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 1012))
def test_any_mutated_configuration_runs_or_is_refused(seed, capsys):
    check_fuzzed(seed, capsys)
