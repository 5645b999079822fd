import multiprocessing
import os
import pickle
import traceback
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


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
