"""Error messages of the verb jamming for mistakes at every level of its file."""

import copy
from pathlib import Path

import pytest
import yaml

from lightning_landscape.__main__ import main

GOOD = yaml.safe_load("""
jamming:
  plan:
    class_path: Scan
    init_args:
      families:
        - depth: 1
          widths: [4]
          data: {class_path: RandomData, init_args: {samples: 400, dimension: 5}}
      samples: [20]
  optimizer: {class_path: DecayingAdam, init_args: {lr: 0.01}}
  steps: 5
""")
PLAN = ("jamming", "plan", "init_args")
FAMILY = (*PLAN, "families", 0)
WRONG_OPTIMIZER = {"class_path": "FIRE", "init_args": {"lrr": 0.1}}
DATA, OPTIMIZER = (*FAMILY, "data"), ("jamming", "optimizer")


def changed(place, key, value=None, old=None):
    """GOOD with ``key`` = ``value`` at ``place``, or with ``old`` named ``key`` there."""
    config = copy.deepcopy(GOOD)
    level = config
    for part in place:
        level = level[part]
    level[key] = value if old is None else level.pop(old)
    return config


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (changed((), "experimnt", "a"), "experimnt: there is no such option (did you mean experi"),
        (changed((), "jaming", old="jamming"), ": there is no such option (did you mean jamming."),
        (changed(("jamming",), "pln", old="plan"), "pln: there is no such option (did you "),
        (
            changed(PLAN, "sample", old="samples"),
            "jamming.plan: Scan has no argument sample (di",
        ),
        (
            changed(FAMILY, "width", old="widths"),
            "jamming.plan.families: Family has no argument",
        ),
        (
            changed((*DATA, "init_args"), "dimensions", old="dimension"),
            "jamming.plan.families.data: RandomData has no argument dimensions (did you mean dim",
        ),
        (
            changed((*OPTIMIZER, "init_args"), "evry", 3),
            "jamming.optimizer: DecayingAdam has no argument evry (did you mean every?)",
        ),
        (
            changed(PLAN[:-1], "init_arg", old="init_args"),
            "jamming.plan: must be a Plan, named by class_path, with its init_args",
        ),
        (
            changed(PLAN[:-1], "classpath", old="class_path"),
            "jamming.plan: must be a Plan, named by class_path, with its init_args",
        ),
        (
            changed(PLAN[:-1], "class_path", "Scann"),
            "plan: there is no class Scann (did you mean",
        ),
        (
            changed(DATA, "class_path", "RandomDat"),
            "jamming.plan.families.data: there is no class RandomDat (did you mean RandomData?)",
        ),
        (
            changed(OPTIMIZER, "class_path", "Digits"),
            "jamming.optimizer: Digits cannot be used here, where another kind of class",
        ),
        (
            changed(DATA, "class_path", "torch.optim.SGD"),
            "jamming.plan.families.data: Import path torch.optim.SGD does not correspond to a",
        ),
        (
            changed(("jamming",), "perturbation", {"class_path": "DataPerturbation"}),
            "jamming.perturbation.optimizer is missing",
        ),
        (
            changed(("jamming",), "perturbation", {"optimizer": WRONG_OPTIMIZER}),
            "jamming.perturbation.optimizer: FIRE has no argument lrr",
        ),
        (
            changed(("jamming",), "perturbation", 5),
            "jamming.perturbation: must be a DataPerturbation, named by class_p",
        ),
        (changed(PLAN, "samples", 20), "jamming.plan.samples = 20: must be a list, as in [1, 2]"),
        (changed(FAMILY, "widths", ["a"]), "jamming.plan.families.widths = a: must be a number"),
        (
            changed((*OPTIMIZER, "init_args"), "lr", "fast"),
            "jamming.optimizer.lr = fast: must be a number",
        ),
        (
            changed(FAMILY, "activation", "rleu"),
            "jamming.plan.families.activation = rleu: must be one of relu, tanh, erf, gelu, linear,"
            " swish, sin, leaky_relu, elu, selu, softsign, hard_swish, mish, softplus, sigmoid"
            " (did you mean relu?)",
        ),
        ({"jamming": {"steps": 3}}, "jamming.plan is missing; give it in a configuration"),
        (changed(FAMILY, "data", None), "jamming.plan.families.data"),
        (
            changed((), "trainer", {"max_steps": 3}),
            "trainer.max_steps: there is no such option; it belongs to the verb fit",
        ),
        ([1, 2], "config = wrong.yaml: must be a mapping of keys to values"),
        (None, "config = wrong.yaml: must be a mapping of keys to values"),
    ],
)
def test_the_key_the_value_and_the_remedy(config, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text("" if config is None else yaml.safe_dump(config))
    assert main(["jamming", "--config", "wrong.yaml"]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("error: ") and error.count("\n") == 1
    assert len(error) < 250
    assert not Path("logs").exists()


@pytest.mark.parametrize("argument", ["--jamming.plan.seeds=0", "--processes=0"])
def test_a_number_out_of_range_leaves_no_run_folder(argument, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(yaml.safe_dump(GOOD))
    assert main(["jamming", "--config", "good.yaml", argument]) == 2
    assert not Path("logs").exists()
