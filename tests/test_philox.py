"""The noise: Philox's published numbers, exact normals, and functions of the step."""

import numpy as np
import pytest
from numba import njit
from scipy import stats

from lightning_landscape import philox
from lightning_landscape.rng import Stream

COUNT = 1 << 20


def draw(key, count=COUNT):
    out = np.empty(count, np.float32)
    philox.fill_normal(out, key)
    return out


@njit
def words_of(words, first, key):
    philox.philox(words, first, key)


@njit
def normals_of(u, v, x, y):
    philox.normals_of_words(u, v, x, y)


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
