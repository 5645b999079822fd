"""Philox's published numbers, exact normals, and the same bits compiled and by torch."""

import math

import numpy as np
import pytest
import torch
from numba import njit
from scipy import stats

from lightning_landscape.philox import compiled, tensors
from lightning_landscape.philox.addresses import Addresses
from lightning_landscape.rng import Stream

COUNT = 1 << 20


def draw(key, count=COUNT):
    out = np.empty(count, np.float32)
    compiled.fill_normal(out, key)
    return out


@njit
def words_of(words, first, key):
    compiled.philox(words, first, key)


@njit
def normals_of(u, v, x, y):
    compiled.normals_of_words(u, v, x, y)


def naive_philox(counter, key, rounds=7):
    """Philox4x32 in Python integers, after the description in Salmon et al., SC 2011."""
    c, k = list(counter), list(key)
    for _ in range(rounds):
        (h0, l0), (h1, l1) = divmod(c[0] * 0xD2511F53, 2**32), divmod(c[2] * 0xCD9E8D57, 2**32)
        c = [h1 ^ c[1] ^ k[0], l1, h0 ^ c[3] ^ k[1], l0]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def test_the_naive_generator_gives_the_published_answers():
    """Known answers that come with Random123 (kat_vectors, philox4x32 7 and 10)."""
    ones, pi = [2**32 - 1] * 4, [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    assert naive_philox([0] * 4, [0] * 2) == [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48]
    assert naive_philox(ones, ones[:2]) == [0x5207DDC2, 0x45165E59, 0x4D8EE751, 0x8C52F662]
    key, answer = [0xA4093822, 0x299F31D0], [0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A]
    assert naive_philox(pi, key) == answer
    answer = [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    assert naive_philox(pi, key, rounds=10) == answer


def test_the_compiled_generator_agrees_with_the_naive_one():
    key, first, words = 0xFEDCBA9876543210, 1000, np.empty((4, 9), np.uint32)
    words_of(words, first, np.uint64(key))
    naive = [naive_philox([first + i, 0, 0, 0], [key % 2**32, key >> 32]) for i in range(9)]
    assert words.T.tolist() == naive


def test_box_muller_is_exact_to_float32():
    u = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32)
    u[:4] = 0, 1, 2**31, 2**32 - 1
    v = u[::-1].copy()
    x, y = np.empty(u.size, np.float32), np.empty(u.size, np.float32)
    normals_of(u, v, x, y)
    uniform = np.float64(np.float32(u) + np.float32(0.5)) * 2.0**-32
    radius, angle = np.sqrt(-2 * np.log(uniform)), 2 * np.pi * v / 2**32
    assert np.abs(x - radius * np.cos(angle)).max() < 2e-6  # radius <= 6.8, float32 2^-24
    assert np.abs(y - radius * np.sin(angle)).max() < 2e-6
    assert radius.max() > 6.7  # the tail is cut at a probability of 10^-10 only


def test_draws_have_the_moments_and_the_distribution_of_a_normal():
    x = draw(2026).astype(np.float64)
    moments = [
        (1, 0, 1),
        (2, 1, 2),
        (3, 0, 15),
        (4, 3, 96),
        (6, 15, 10170),
    ]  # power, mean, variance
    for power, mean, variance in moments:
        assert abs((x**power).mean() - mean) < 4 * (variance / x.size) ** 0.5
    assert stats.kstest(x, "norm").pvalue > 1e-4
    tail, expected = (np.abs(x) > 4).sum(), 2 * stats.norm.sf(4) * x.size  # 66 +- 8
    assert abs(tail - expected) < 4 * expected**0.5


@pytest.mark.parametrize("lag", [1, 2, 127, 128, 256, 512])
def test_neighbours_and_lanes_are_uncorrelated(lag):
    x = draw(1).astype(np.float64)
    a, b = x[:-lag], x[lag:]
    for f, variance in ((lambda z: z, 1.0), (lambda z: z**2 - 1, 4.0), (lambda z: z**3, 225.0)):
        assert abs((f(a) * f(b)).mean()) < 4 * (variance / a.size) ** 0.5


@pytest.mark.parametrize("count", [1, 511, 512, 513, 2000])
def test_a_shorter_buffer_is_the_beginning_of_a_longer_one(count):
    assert (draw(3, count) == draw(3, 4096)[:count]).all()


def test_the_first_number_of_the_steps_is_a_normal_too():
    stream = Stream(0, "langevin")
    first = np.array([draw(stream.key(step), 2) for step in range(20_000)], np.float64)
    assert stats.kstest(first[:, 0], "norm").pvalue > 1e-4
    for a, b in ((first[1:, 0], first[:-1, 0]), (first[:, 0], first[:, 1])):
        assert abs((a * b).mean()) < 4 / a.size**0.5


# addressed numbers

ADDRESSES = {
    "whole": Addresses([(3, 5), (7,), (), (2, 2, 4), (600, 1), (0, 3), (2, 2051)]),
    "replicas": Addresses([(3, 5), (3, 2), (3, 1)], replicas=[9, 2**32 - 1, 0]),
    "cut": Addresses([(3, 5), (7,), (1,)], first=[(2, 0), (5,), (8,)]),
}


def normals_of_counters(counters, key):
    words = np.array([naive_philox(c, [key % 2**32, key >> 32]) for c in counters], np.uint32)
    x = np.empty((4, len(words)), np.float32)
    for w in (0, 2):
        normals_of(words[:, w].copy(), words[:, w + 1].copy(), x[w], x[w + 1])
    return x.T


def expected(shapes, key, first):
    """Every number from its own counter (i // 4, r, 0, k)."""
    for k, (shape, start) in enumerate(zip(shapes, first, strict=True)):
        slices = shape[0] if len(shape) > 1 else 1
        for s in range(slices):
            row, *rest = (*start, 0, 0) if len(shape) > 1 else (0, *start, 0)
            r, begin = row + s, rest[0] * math.prod(shape[2:])
            index = begin + np.arange(math.prod(shape) // slices)
            counters = [[int(i) // 4, r, 0, k] for i in index]
            yield from normals_of_counters(counters, key)[range(len(index)), index % 4]


@pytest.mark.parametrize(
    "shapes, first",
    [
        ([(3, 5), (7,), (), (2, 2, 4), (600, 1), (2, 3)], [()] * 6),
        ([(3, 5), (7,), (1,)], [(2, 0), (5,), (8,)]),
        ([(1, 5), (1, 3, 7), (1, 2)], [(0, 6), (4, 3, 0), (0, 1)]),
    ],
)
def test_each_number_has_the_counter_of_its_address(shapes, first):
    addresses, key = Addresses(shapes, first=first), 0xFEDCBA9876543210
    flat = torch.empty(addresses.size)
    compiled.fill_addressed(flat.numpy(), addresses.rows, addresses.parts, key)
    drawn = torch.cat([part.flatten() for part in addresses.split(flat)])
    assert drawn.tolist() == [float(x) for x in expected(shapes, key, first)]


# by torch


def by_torch(count, key):
    out = torch.empty(count)
    tensors.fill_normal(out, key)
    return out.numpy()


@pytest.mark.parametrize("key", [0, 2026, 0xFEDCBA9876543210, 2**64 - 1])
def test_torch_draws_the_compiled_numbers(key, monkeypatch):
    monkeypatch.setattr(tensors, "CHUNK", 1 << 14)  # it then stays in the cache
    assert (by_torch(COUNT + 3, key) == draw(key, COUNT + 3)).all()


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("chunk", [1 << 20, 37])
def test_torch_draws_the_compiled_addressed_numbers(name, chunk, monkeypatch):
    monkeypatch.setattr(tensors, "CHUNK", chunk)
    addresses = ADDRESSES[name]
    a, b = np.empty(addresses.size, np.float32), torch.empty(addresses.size)
    for key in (3, 2**63):
        compiled.fill_addressed(a, addresses.rows, addresses.parts, key)
        tensors.fill_addressed(b, addresses, key)
        assert (a == b.numpy()).all()


def test_torch_and_compiled_agree_at_the_ends_of_the_words():
    """The tails, the quarters of the circle, and what lies beside them."""
    edges = np.array([0, 1, 2, 2**24, 2**29, 2**30, 2**31, 3 * 2**29, 3 * 2**30, 2**32 - 2])
    edges = np.unique(np.concatenate([edges + d for d in (-1, 0, 1)]) % 2**32).astype(np.uint32)
    u, v = (grid.ravel().copy() for grid in np.meshgrid(edges, edges))
    x, y = np.empty(u.size, np.float32), np.empty(u.size, np.float32)
    normals_of(u, v, x, y)
    a, b = tensors.normals_of_words(*(torch.from_numpy(w.astype(np.int64)) for w in (u, v)))
    assert (a.numpy() == x).all() and (b.numpy() == y).all()


def test_a_fused_multiply_add_rounds_once():
    """A sum a hair beside the middle of two float32 numbers, on the middle if rounded twice."""
    a, b = torch.tensor([1 + 2.0**-20]).double(), torch.tensor([(1 - 2.0**-20) / 2**24]).double()
    c = 1 + 2.0**-23
    assert tensors._fma(a, b, c).item() == c
    assert (a * b + c).float().item() == 1 + 2.0**-22
    assert tensors._fma(a, b, -c).item() == -c
    assert (a * b - c).float().item() == -1


@pytest.mark.parametrize("seed", range(4))
def test_torch_reads_keys_from_tensors(seed):
    stream = Stream(seed, "langevin")
    steps = range(20, 23)
    for step, key in zip(steps, stream.keys(steps, torch.device("cpu")), strict=True):
        a, b = torch.empty(100), torch.empty(100)
        tensors.fill_normal(a, stream.key(step))
        tensors.fill_normal(b, key.view(1))
        assert a.equal(b)


ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("count", [pytest.param(n, marks=ON_GPU) for n in (1, 1023, (1 << 22) + 3)])
def test_a_gpu_draws_the_numbers_of_the_cpu(count, dtype):
    stream = Stream(0, "langevin")
    on_gpu = stream.normal_(torch.empty(count, device="cuda", dtype=dtype), step=7)
    assert on_gpu.cpu().equal(stream.normal_(torch.empty(count, dtype=dtype), step=7))


@pytest.mark.parametrize("name", [pytest.param(name, marks=ON_GPU) for name in ADDRESSES])
def test_a_gpu_draws_the_addressed_numbers_of_the_cpu(name):
    stream, addresses = Stream(0, "langevin"), ADDRESSES[name]
    on_gpu = torch.empty(addresses.size, device="cuda")
    for step, key in zip(range(90, 99), stream.keys(range(90, 99), on_gpu.device), strict=True):
        on_cpu = stream.normal_at_(torch.empty(addresses.size), step, addresses)
        assert stream.normal_at_(on_gpu, step, addresses).cpu().equal(on_cpu)
        on_gpu.zero_()
        assert stream.normal_at_(on_gpu, key.view(1), addresses).cpu().equal(on_cpu)


@pytest.mark.parametrize("key", [pytest.param(3, marks=ON_GPU)])
def test_on_a_gpu_the_kernel_agrees_with_torch_operators(key):
    cuda = pytest.importorskip("lightning_landscape.philox.cuda")
    a, b = (torch.empty(COUNT + 3, device="cuda") for _ in range(2))
    cuda.fill_normal(a, key)
    tensors.fill_normal(b, key)
    assert a.equal(b)
