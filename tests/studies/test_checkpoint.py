"""The file of a round: when it is written, what it keeps, and what it does not believe."""

import pytest
import torch

from lightning_landscape.studies import checkpoint
from lightning_landscape.studies.checkpoint import RoundCheckpoint

ROUND = ((0, 8, 0.1, 0), [0, 1])


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    return now


def test_a_state_on_its_way_is_written_once_a_minute_at_most(tmp_path, clock):
    path, asked = tmp_path / "a.round", []

    def state(step):
        asked.append(step)
        return {"step": step}

    kept = RoundCheckpoint(path, ROUND)
    for step, now in enumerate((100.0, 159.9, 160.0, 200.0, 221.0)):
        clock[0] = now
        kept.save("descent", lambda step=step: state(step))
    assert asked == [2, 4]  # no state is made that is not written
    assert RoundCheckpoint(path, ROUND).load("descent") == {"step": 4}


def test_a_result_is_written_at_once_and_replaces_what_led_to_it(tmp_path, clock):
    path = tmp_path / "a.round"
    kept = RoundCheckpoint(path, ROUND)
    clock[0] += 60
    kept.save("descent", lambda: {"step": 7})
    kept.end("done", {"x": torch.tensor([1.0, 2.0])}, supersedes="descent")
    again = RoundCheckpoint(path, ROUND)
    assert again.load("descent") is None
    assert again.load("done")["x"].tolist() == [1, 2]


def test_a_result_restarts_the_minute(tmp_path, clock):
    kept = RoundCheckpoint(tmp_path / "a.round", ROUND)
    clock[0] += 59
    kept.end("done", {}, supersedes="")
    clock[0] += 59
    kept.save("descent", lambda: {"step": 1})
    assert RoundCheckpoint(tmp_path / "a.round", ROUND).load("descent") is None


def test_stages_are_kept_apart(tmp_path, clock):
    kept = RoundCheckpoint(tmp_path / "a.round", ROUND)
    for name in ("training", "descent"):
        clock[0] += 60
        kept.stage(name).save(lambda name=name: {"name": name})
    again = RoundCheckpoint(tmp_path / "a.round", ROUND)
    assert again.stage("training").load() == {"name": "training"}
    assert again.stage("descent").load() == {"name": "descent"}
    assert again.stage("another").load() is None


def test_without_a_file_states_are_kept_in_memory_only(tmp_path, clock):
    kept = RoundCheckpoint(None, ())
    kept.end("done", {"x": 1}, supersedes="")
    assert kept.load("done") == {"x": 1} and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it cannot be read"),
        ({"round": repr(ROUND)}, "it cannot be read (KeyError)"),
        ([1, 2], "it cannot be read (TypeError)"),
        ({"round": repr(((0, 8, 0.1, 8), [0, 1])), "stages": {"done": {}}}, "of another round"),
        ({"round": repr((ROUND[0], [0])), "stages": {"done": {}}}, "of another round"),
    ],
)
def test_what_cannot_be_of_this_round_is_ignored_with_a_sentence(tmp_path, caplog, content, reason):
    path = tmp_path / "a.round"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    kept = RoundCheckpoint(path, ROUND)
    assert kept.load("done") is None
    (sentence,) = caplog.messages
    assert sentence.startswith(f"{path}: ignored, because it") and reason in sentence
    kept.end("done", {"x": 1}, supersedes="")
    assert RoundCheckpoint(path, ROUND).load("done") == {"x": 1}


def test_code_in_a_file_is_not_run(tmp_path, caplog):
    """A checkpoint is data: torch loads weights only, and a pickle that calls is refused."""

    class Calls:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save({"round": repr(ROUND), "stages": {"done": Calls()}}, tmp_path / "a.round")
    assert RoundCheckpoint(tmp_path / "a.round", ROUND).load("done") is None
    assert not (tmp_path / "made").exists() and "cannot be read" in caplog.text
