"""The verb configs: every configuration is listed by question and run time, and can be copied."""

import math
from pathlib import Path

import pytest
import yaml

from lightning_landscape.__main__ import VERBS, main
from lightning_landscape.cli.configurations.catalogue import catalogue, folder, seconds_in

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_file_is_in_the_catalogue_and_its_head_is_complete():
    known = catalogue()
    assert {each.path for each in known} == set(CONFIGS.rglob("*.yaml")) and folder() == CONFIGS
    for each in known:
        assert each.verb in VERBS, each.name
        assert each.question, each.name
        assert each.expected and each.reference and each.run_time, each.name
        # what has no number takes hours, or was not run
        words = ("hours", "not yet")
        assert math.isfinite(each.seconds) or any(w in each.run_time for w in words), each.name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("under four minutes on 2 cores (217 s), six on one.", 240),
        ("two and a half minutes of one core.", 150),
        ("half an hour", 1800),
        ("three quarters of an hour on one core.", 2700),
        ("80 s of one core", 80),
        ("about twenty seconds", 20),
        ("hours on a GPU; 10^6 steps", math.inf),
    ],
)
def test_a_run_time_in_words_is_a_number(text, seconds):
    assert seconds_in(text) == seconds


def test_it_lists_by_word_and_by_run_time(capsys):
    assert main(["configs"]) == 0
    listed = capsys.readouterr().out
    assert all(each.name in listed for each in catalogue())
    assert main(["configs", "--minutes", "0.1", "saddle"]) == 0
    listed = capsys.readouterr().out
    assert "pspin/saddles" in listed and "hessian_free" not in listed
    assert "python -m lightning_landscape explore --config configs/pspin/saddles.yaml" in listed


def test_it_describes_one_and_copies_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["configs", "configs/pspin/aging.yaml"]) == 0
    assert "expected   E(t) falls as a power law" in capsys.readouterr().out
    assert main(["configs", "pspin/aging", "--copy", "mine.yaml"]) == 0
    assert "python -m lightning_landscape fit --config mine.yaml" in capsys.readouterr().out
    original = yaml.safe_load((CONFIGS / "pspin/aging.yaml").read_text())
    assert yaml.safe_load(Path("mine.yaml").read_text()) == original


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["psin/agin"], "no configuration names this (did you mean pspin/aging?)"),
        (["psin/aging", "--copy", "new.yaml"], "--copy needs the name of one (did you mean"),
        (["pspin/aging", "--copy", "old.yaml"], "copy = old.yaml: exists; choose another name"),
        (["pspin/aging", "--copy", "no/x.yaml"], "copy = no/x.yaml: there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("old.yaml").write_text("mine")
    assert main(["configs", *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert Path("old.yaml").read_text() == "mine"


def test_without_arguments_all_verbs_are_named_and_a_line_to_copy(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)
    command = shown.splitlines()[-1].split()
    assert command[:4] == ["python", "-m", "lightning_landscape", "fit"]
    assert (CONFIGS.parent / command[-1]).is_file()
