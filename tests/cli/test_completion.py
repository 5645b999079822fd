"""The script of the verb completion, as bash uses it."""

import shutil
import subprocess

import pytest

from lightning_landscape.__main__ import VERBS, main
from lightning_landscape.cli.configurations.catalogue import catalogue

WIDTHS = [f"--model.energy.architecture.{name}" for name in ("widths", "width_exponent", "width")]
ASK = """
source completion.bash
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_lightning_landscape
echo "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("completion")


@pytest.fixture(scope="module")
def complete(folder):
    """What bash offers for the last of some words; the script is made once."""
    if (bash := shutil.which("bash")) is None:
        pytest.skip("bash is not installed")
    with pytest.MonkeyPatch.context() as patch, (folder / "completion.bash").open("w") as script:
        patch.setattr("sys.stdout", script)
        assert main(["completion"]) == 0

    def offered(*words):
        command = [bash, "-c", ASK, "bash", "lightning-landscape", *words]
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True
        ).stdout.split()

    return offered


def test_verbs(complete):
    assert complete("") == list(VERBS)
    assert complete("ja") == ["jamming"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit", "--trainer.max_s"], ["--trainer.max_steps"]),
        (["fit", "--model.optimizer.temp"], ["--model.optimizer.temperature"]),
        (["fit", "--model.energy.data.test_f"], ["--model.energy.data.test_fraction"]),
        (
            ["fit", "--model.energy.architecture.norm"],
            ["--model.energy.architecture.normalization"],
        ),
        (["fit", "--conf"], ["--config"]),
        (["sweep", "--la"], ["--law"]),
        (["jamming", "--jamming.st"], ["--jamming.steps"]),
        (["completion", "--"], ["--help"]),
    ],
    ids=lambda part: part[-1],
)
def test_options_of_each_verb_and_of_the_classes_that_they_name(words, expected, complete):
    assert complete(*words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fit", "--model.energy", "SphericalPS"], ["SphericalPSpin"]),
        (["fit", "--model.energy", "=", "SphericalPS"], ["SphericalPSpin"]),
        (["fit", "--model.optimizer", "torch.optim.SG"], ["torch.optim.SGD"]),
        (["fit", "--model.energy.loss", "="], ["cross_entropy", "quadratic_hinge", "squared"]),
        (["fit", "--config", "configs/pspin/ag"], ["configs/pspin/aging.yaml"]),
    ],
    ids=lambda part: part[-1],
)
def test_values(words, expected, complete):
    assert complete(*words) == expected


def test_configurations(complete):
    assert complete("configs", "") == [each.name for each in catalogue()]


def test_files_are_left_to_bash(complete, folder):
    """Nothing is offered, and ``-o default`` of the script then completes names of files."""
    assert complete("report", "lo") == []
    assert "complete -o default" in (folder / "completion.bash").read_text()
