import importlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

# Cases of the contract of probes that test what all probes share: three probes stand for all,
# unless slow tests run. tests/callbacks/test_together.py has all probes in one run.
SHARED = (
    "another_form",
    "two_ranks_of_a_foreign_project",
    "averag",
    "compiled",
    "accumulation",
    "bf16",
    "manual, two",
)
ALWAYS = ("test_aging", "test_hessian", "test_gradient_noise")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        bases = getattr(getattr(item, "cls", None), "__mro__", ())
        if not any(base.__name__ == "ProbeContract" for base in bases):
            continue
        stands_for_all = item.path.stem in ALWAYS and item.cls.__name__ == "TestContract"
        if not stands_for_all and any(x in item.name for x in SHARED):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _seed_and_one_thread():
    """Small tensors gain nothing from threads, and one thread makes sums reproducible."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def two_ranks(tmp_path_factory):
    """``two_ranks(f, *args)`` returns [f(0, *args), f(1, *args)], from the ranks of a gloo group.

    The two processes start with the first test that asks for them and serve the whole session.
    They are forked, so that they know every test module and have imported everything; f has to be
    a function of a module. What it raises is raised here.
    """
    store = f"file://{tmp_path_factory.mktemp('ranks')}/store"
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(2)]
    ranks = [
        context.Process(target=_serve, args=(rank, store, pipes), daemon=True) for rank in range(2)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
        for process in ranks:
            process.start()

    def call(function, *args):
        task = pickle.dumps((function, args))  # by value: no tensor is shared with a rank
        for here, _ in pipes:
            here.send_bytes(task)
        answers = []
        for rank, (here, _) in enumerate(pipes):
            assert here.poll(60), f"rank {rank} of {function.__name__} does not answer"
            answers.append(pickle.loads(here.recv_bytes()))
        for failed, answer in answers:
            if failed:
                raise AssertionError(answer)
        return [answer for _, answer in answers]

    yield call
    for process in ranks:
        process.kill()
        process.join()


def _serve(rank, store, pipes):
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    while True:
        function, args = pickle.loads(pipes[rank][1].recv_bytes())
        try:
            answer = (False, function(rank, *args))
        except BaseException:
            answer = (True, traceback.format_exc())
        pipes[rank][1].send_bytes(pickle.dumps(answer))


class Command:
    """A run of the command line in a forked process, the leader of its own session.

    A fork has imported everything already, so it starts at once; otherwise it lives and dies like
    a process of its own. It has the working folder, environment and patches of the test.
    """

    def __init__(self, args, environment, said):
        sys.stdout.flush(), sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
            self.pid = os.fork()
        if self.pid == 0:
            _run(args, environment, said)
        self.returncode, self._said = None, said

    def poll(self):
        """The exit status, minus the number of the signal after one, or None if it still runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=60):
        """Wait until it has ended; return its exit status."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            assert time.monotonic() < end, f"runs for more than {timeout} s; so far:\n{self.said}"
            time.sleep(0.01)
        return self.returncode

    def send_signal(self, signum):
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    @property
    def said(self):
        """What it and its own processes have written to stdout and stderr so far."""
        return self._said.read_text()


def _run(args, environment, said):
    """Become ``python -m lightning_landscape args``."""
    status = 1
    try:
        os.setsid()
        os.environ.update(environment)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.stdin, sys.stdout, sys.stderr = map(os.fdopen, range(3), "rww")
        sys.argv = ["lightning_landscape", *args]
        warnings.resetwarnings()
        module = importlib.import_module("lightning_landscape.__main__")
        sys.modules["__main__"] = module  # what its spawned workers import
        status = module.main(list(args))
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush(), sys.stderr.flush()
        finally:
            os._exit(status or 0)


@pytest.fixture
def start(tmp_path_factory):
    """``start("fit", "--config", …)`` starts the command line in a process, a `Command`."""
    folder, started = tmp_path_factory.mktemp("said"), []

    def fork(*args, environment=None):
        started.append(Command(args, environment or {}, folder / str(len(started))))
        return started[-1]

    yield fork
    for command in started:
        command.kill()
        command.wait()
