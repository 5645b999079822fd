"""Everything that the README shows is run: Python blocks here, set-up commands by .ci/run."""

import re
import shlex
from pathlib import Path

import pytest

from lightning_landscape.__main__ import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def commands():
    return [line for block in blocks("bash") for line in block.splitlines() if line]


def test_code_is_on_the_first_screen():
    assert README[: README.index("```")].count("\n") < 25


def test_set_up_commands_are_run_by_ci():
    set_up = [line for line in commands() if line.startswith("python3 -m venv")]
    assert len(set_up) == 2
    assert "grep '^python3 -m venv' README.md" in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("python -m lightning")])
def test_commands_run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    arguments = shlex.split(command)[3:]
    if arguments[0] == "configs":
        assert main(arguments) == 0
    elif arguments[0] == "report":
        main(["fit", "--config", "configs/pspin/aging.yaml", "--trainer.max_steps=10"])
        assert main(arguments) == 0
        assert "<img" in (tmp_path / "report.html").read_text()
    else:
        assert main([*arguments, "--trainer.max_steps=10"]) == 0


def test_links_and_figures_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(targets) > 10 and all((ROOT / target).exists() for target in targets)


@pytest.mark.parametrize("block", blocks("python"), ids=range(len(blocks("python"))))
def test_python_runs(block, tmp_path, monkeypatch):
    import pytorch_lightning as pl

    monkeypatch.chdir(tmp_path)
    exec(block, {"Trainer": pl.Trainer})
