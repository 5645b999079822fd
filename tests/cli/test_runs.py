import os

import pytest

from lightning_landscape.cli import runs
from lightning_landscape.errors import UsageError


@pytest.fixture(autouse=True)
def _no_claim_in_the_environment(monkeypatch):
    monkeypatch.setenv("LIGHTNING_LANDSCAPE_RUN", "")


def die(folder):
    """Release the lock, as the kernel does when the process is killed."""
    os.close(folder.lock)


def test_a_new_configuration_gets_a_new_run(tmp_path):
    first = runs.claim(tmp_path / "a", "lr: 1\n")
    second = runs.claim(tmp_path / "a", "lr: 2\n")
    assert [first.path.name, second.path.name] == ["version_0", "version_1"]
    assert (second.path / "config.yaml").read_text() == "lr: 2\n"


def test_the_same_command_resumes_a_killed_run(tmp_path):
    first = runs.claim(tmp_path / "a", "lr: 1\n")
    die(first)
    again = runs.claim(tmp_path / "a", "lr: 1\n")
    assert again.path == first.path
    assert again.version == 0


def test_a_run_in_use_is_left_alone(tmp_path):
    running = runs.claim(tmp_path / "a", "lr: 1\n")
    assert runs.claim(tmp_path / "a", "lr: 1\n").path != running.path


def test_a_finished_run_is_left_alone(tmp_path):
    first = runs.claim(tmp_path / "a", "lr: 1\n")
    first.finish("| E | -1 |")
    die(first)
    assert runs.claim(tmp_path / "a", "lr: 1\n").path.name == "version_1"


def test_versions_are_sorted_as_numbers(tmp_path):
    for k in (2, 10):
        (tmp_path / f"version_{k}").mkdir()
    assert runs.claim(tmp_path, "").version == 11


def test_the_checkpoint_is_the_last_one(tmp_path):
    run = runs.claim(tmp_path, "")
    assert run.checkpoint is None
    path = run.path / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    path.write_text("")
    assert run.checkpoint == path


def test_other_ranks_use_the_run_claimed_by_rank_zero(tmp_path, monkeypatch):
    first = runs.claim(tmp_path, "lr: 1\n")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runs.claim(tmp_path, "lr: 1\n").path == first.path


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written .*; choose another folder"):
        runs.claim(tmp_path / "file" / "a", "")
