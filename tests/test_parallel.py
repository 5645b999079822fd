import pytest
import torch
import torch.distributed as dist

from lightning_landscape import parallel
from lightning_landscape.errors import UsageError

RANKS = 3


def _values(rank):
    return torch.tensor([[1.0, -2.0]]).double() * (rank + 1)


def _rows(rank):
    """Uneven sizes, one of them 0."""
    return torch.full((rank, 2), float(rank))


def _on_rank(rank, folder, results):
    store = dist.FileStore(f"{folder}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    x = _values(rank)
    found = {
        "rank": parallel.rank(),
        "count": parallel.count(),
        "share": list(parallel.share(8)),
        "team": list(parallel.share(8, team=3)),
        "sum": parallel.sum(x),
        "mean": parallel.mean(x),
        "max": parallel.reduce(x, "max"),
        "rows": parallel.gather(_rows(rank)),
        "columns": parallel.gather(_rows(rank).mT.bool(), dim=1),
        "own": x,
    }
    results.put((rank, {k: v.tolist() if torch.is_tensor(v) else v for k, v in found.items()}))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    context = torch.multiprocessing.get_context("fork")
    results, folder = context.SimpleQueue(), tmp_path_factory.mktemp("ranks")
    processes = [context.Process(target=_on_rank, args=(r, folder, results)) for r in range(RANKS)]
    for process in processes:
        process.start()
    found = dict(results.get() for _ in processes)
    for process in processes:
        process.join()
    return [found[r] for r in range(RANKS)]


def test_every_rank_holds_what_all_of_them_hold_together(ranks):
    for found in ranks:
        assert found["sum"] == [[6, -12]]
        assert found["mean"] == [[2, -4]]
        assert found["max"] == [[3, -2]]


def test_sizes_may_differ_where_tensors_are_joined(ranks):
    for found in ranks:
        assert found["rows"] == [[1, 1], [2, 2], [2, 2]]
        assert found["columns"] == [[True] * 3] * 2


def test_what_is_given_is_left_as_it_is(ranks):
    assert [found["own"] for found in ranks] == [_values(r).tolist() for r in range(RANKS)]


def test_the_shares_are_all_replicas_in_order(ranks):
    assert [found["rank"] for found in ranks] == [0, 1, 2]
    assert {found["count"] for found in ranks} == {3}
    assert [r for found in ranks for r in found["share"]] == list(range(8))
    assert {len(found["share"]) for found in ranks} == {2, 3}
    assert all(found["team"] == list(range(8)) for found in ranks)


def test_one_process_is_one_rank_and_reductions_are_the_identity():
    x = torch.arange(6).view(2, 3)
    assert (parallel.rank(), parallel.count()) == (0, 1)
    assert parallel.share(4) == range(4)
    for how in ("sum", "mean", "max", "gather"):
        assert parallel.reduce(x, how) is x


def test_an_unknown_reduction_is_refused():
    with pytest.raises(UsageError, match="how = median: must be one of sum, mean, max, gather"):
        parallel.reduce(torch.zeros(1), "median")
