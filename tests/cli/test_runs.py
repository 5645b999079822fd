import multiprocessing
import os
import socket
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from lightning_landscape.cli import runs
from lightning_landscape.cli.distributed import launch
from lightning_landscape.errors import UsageError


@pytest.fixture(autouse=True)
def _no_claim_in_the_environment(monkeypatch):
    monkeypatch.setenv("LIGHTNING_LANDSCAPE_RUN", "")
    monkeypatch.delenv("LOCAL_RANK", raising=False)


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


def unfinished(experiment, config):
    """A killed run with a checkpoint."""
    run = runs.claim(experiment, config)
    (run.path / "checkpoints").mkdir()
    (run.path / "checkpoints/last.ckpt").write_text("")
    die(run)
    return run.path


def test_another_value_that_cannot_matter_goes_on_and_says_so(tmp_path):
    path = unfinished(tmp_path, "lr: 1\ntrainer: {enable_progress_bar: true}\n")
    config = "lr: 1\ntrainer: {enable_progress_bar: false}\n"
    again = runs.claim(tmp_path, config)
    assert again.path == path
    assert "trainer.enable_progress_bar (was True, now False)" in again.note
    assert (path / "config.yaml").read_text() == config


def test_another_value_that_matters_is_asked_for(tmp_path):
    path = unfinished(tmp_path, "model: {optimizer: {init_args: {lr: 1}}}\n")
    config = "model: {optimizer: {init_args: {lr: 2}}}\n"
    sentence = r"differs in model.optimizer.init_args.lr \(was 1, now 2\); give --continue .* --new"
    with pytest.raises(UsageError, match=sentence):
        runs.claim(tmp_path, config)
    assert runs.claim(tmp_path, config, "new").path.name == "version_1"
    assert runs.claim(tmp_path, config, "continue").path == path


@pytest.mark.parametrize(
    "other",
    [
        "model: {energy: {N: 3}, optimizer: {class_path: SGD}}\n",
        "model: {energy: {N: 2}, optimizer: {class_path: Adam}}\n",
        "model: {energy: {N: 2}, optimizer: {class_path: SGD}}\ntrainer: {callbacks: [a]}\n",
    ],
    ids=["system", "optimizer", "probe"],
)
def test_the_state_of_another_system_is_not_continued(tmp_path, other):
    path = unfinished(tmp_path, "model: {energy: {N: 2}, optimizer: {class_path: SGD}}\n")
    for choice in ("ask", "continue"):
        with pytest.raises(UsageError, match=f"of another .*; give --new .* --config {path}"):
            runs.claim(tmp_path, other, choice)
    assert runs.claim(tmp_path, other, "new").path != path


def test_a_run_of_the_same_configuration_is_preferred(tmp_path):
    first = unfinished(tmp_path, "lr: 1\n")
    (tmp_path / "version_1").mkdir()
    (tmp_path / "version_1/config.yaml").write_text("lr: 2\n")
    (tmp_path / "version_1/probes").mkdir()
    (tmp_path / "version_1/probes/energy.nc").write_text("")
    assert runs.claim(tmp_path, "lr: 1\n").path == first


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    path = unfinished(tmp_path, "lr: 1\n")
    for name in (".last.ckpt.abc.unfinished", "probes/.energy.nc.x1.unfinished"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("half")
    runs.claim(tmp_path, "lr: 1\n")
    assert not list(path.rglob("*.unfinished"))


def test_a_damaged_configuration_of_another_run_is_no_obstacle(tmp_path):
    for k, content in enumerate((b"\xff\xfe", b"a: [", b"- a")):
        (tmp_path / f"version_{k}/probes").mkdir(parents=True)
        (tmp_path / f"version_{k}/probes/a.nc").write_text("")
        (tmp_path / f"version_{k}/config.yaml").write_bytes(content)
    assert runs.claim(tmp_path, "lr: 1\n").path.name == "version_3"


def test_a_refused_run_leaves_no_folder(tmp_path):
    runs.claim(tmp_path / "logs/a", "lr: 1\n").discard()
    assert not any(tmp_path.iterdir())
    path = unfinished(tmp_path / "logs/a", "lr: 1\n")
    runs.claim(tmp_path / "logs/a", "lr: 1\n").discard()
    assert path.is_dir()


@pytest.mark.parametrize("name", ["..", "../other", "/etc", "a/../../b", "a\0b"])
def test_an_experiment_stays_inside_its_folder(tmp_path, name):
    with pytest.raises(UsageError, match="must be a folder inside save_dir"):
        runs.inside(str(tmp_path / "logs"), name)


def test_an_experiment_may_have_subfolders(tmp_path):
    assert runs.inside(str(tmp_path), "digits/aging") == tmp_path / "digits/aging"


def test_other_ranks_use_the_run_claimed_by_rank_zero(tmp_path, monkeypatch):
    first = runs.claim(tmp_path, "lr: 1\n")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runs.claim(tmp_path, "lr: 1\n").path == first.path


def claim_as(rank, folder, environment):
    """Claim in a process that a launcher has started as ``rank`` of two."""
    os.environ.pop("LIGHTNING_LANDSCAPE_RUN", None)
    numbers = dict.fromkeys(("RANK", "SLURM_PROCID", "NODE_RANK"), str(rank))
    os.environ.update(environment | numbers)
    try:
        with launch.on_nodes(2):
            return str(runs.claim(Path(folder), "lr: 1\n").path)
    except UsageError as error:
        return str(error)


def free_port():
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        return str(any_free.getsockname()[1])


@pytest.mark.parametrize("launcher", ["torchrun", "slurm", "Lightning on two nodes"])
@pytest.mark.parametrize("refused", [False, True])
def test_ranks_of_any_launcher_share_one_folder(tmp_path, launcher, refused):
    port = free_port()
    environment = {
        "torchrun": {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"},
        "Lightning on two nodes": {},
        "slurm": {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "1"},
    }[launcher] | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    folder = tmp_path / "logs"
    if refused:
        folder.write_text("")
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        claims = [pool.submit(claim_as, rank, str(folder), environment) for rank in (0, 1)]
        found = [claim.result(timeout=60) for claim in claims]
    if refused:
        assert "cannot be written" in found[0]
        assert found[1] == "rank 1: ends because rank 0 could not start"
    else:
        assert found == [str(folder / "version_0")] * 2
        assert os.listdir(folder) == ["version_0"]


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written .*; choose another folder"):
        runs.claim(tmp_path / "file" / "a", "")


def test_several_nodes_need_an_address(monkeypatch):
    monkeypatch.delenv("LIGHTNING_LANDSCAPE_RUN")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    sentence = "num_nodes = 2: needs an address; set MASTER_ADDR in the"
    with pytest.raises(UsageError, match=sentence), launch.on_nodes(2):
        pass
