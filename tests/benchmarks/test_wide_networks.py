"""Effective theory: the exact law of the metric, sampling without weights, kernels of many inputs.

The exact law has to be drawn beside every measurement, and is held to 2 seconds.
"""

import time

import numpy as np
import pytest
import torch

from lightning_landscape.theory.wide_networks import (
    Layer,
    input_kernel,
    kernels,
    metric_law,
    next_metric_moments,
    sample_chain,
    sample_metrics,
)

N, L, R = 64, 8, 1000
TANH = Layer.critical("tanh")


def weights_and_forward(samples):
    """Weights of tanh networks, and activations and metric of every layer."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(L - 2, samples, N, N, generator=generator, dtype=torch.float64)
    weights /= N**0.5
    z = torch.randn(samples, N, generator=generator, dtype=torch.float64)
    h, G = [torch.tanh(z)], [torch.ones(samples, dtype=torch.float64)]
    for W in weights:
        G.append(h[-1].square().mean(1))
        h.append(torch.tanh((W @ h[-1].unsqueeze(-1)).squeeze(-1)))
    G.append(h[-1].square().mean(1))
    return weights, h, G


def networks(samples):
    """Metric of every layer and tangent kernel of one output."""
    weights, h, G = weights_and_forward(samples)
    generator = torch.Generator().manual_seed(1)
    last = torch.randn(samples, N, generator=generator, dtype=torch.float64) / N**0.5
    delta = (1 - h[-1].square()) * last
    T = 1 + G[-1] + delta.square().sum(1) * (1 + G[-2])
    for l in range(L - 3, -1, -1):
        back = (weights[l].transpose(1, 2) @ delta.unsqueeze(-1)).squeeze(-1)
        delta = (1 - h[l].square()) * back
        T += delta.square().sum(1) * (1 + G[l])
    return torch.stack(G).numpy(), T.numpy()


def chain(samples, seed=0):
    return sample_chain(TANH, 1.0, N, L, samples, seed)


def test_the_exact_law(compare):
    """Against as many samples as give three digits of the variance."""
    start = time.perf_counter()
    metric_law(TANH, 1.0, 32, 5)
    assert time.perf_counter() - start < 2
    compare(
        "exact law of the metric, tanh, n = 32, L = 5",
        lambda: metric_law(TANH, 1.0, 32, 5),
        lambda: sample_chain(TANH, 1.0, 32, 5, 20_000),
        against="2e4 samples of the chain (1 % of the variance)",
        at_least=0.5,
        rounds=3,
    )


def test_metrics_without_weights(compare):
    ours = sample_metrics(TANH, np.ones((1, 1)), N, L, R)[-1, :, 0, 0]
    theirs = weights_and_forward(R)[2][-1].numpy()
    assert abs(ours.mean() - theirs.mean()) < 5 * np.hypot(ours.std(), theirs.std()) / R**0.5
    compare(
        f"metric of {R} networks, n = {N}, L = {L}",
        lambda: sample_metrics(TANH, np.ones((1, 1)), N, L, R),
        lambda: weights_and_forward(R),
        against="networks with weights",
        at_least=40,
        rounds=5,
    )


def test_tangent_kernels_without_weights(compare):
    ours, theirs = chain(R).T, networks(R)[1]
    assert abs(ours.mean() - theirs.mean()) < 5 * np.hypot(ours.std(), theirs.std()) / R**0.5
    compare(
        f"metric and tangent kernel of {R} networks, n = {N}, L = {L}",
        lambda: chain(R),
        lambda: networks(R),
        against="networks with weights",
        at_least=25,
        rounds=5,
    )


def test_the_last_layer_averaged_exactly(benchmark):
    """Variance of estimates of V from 500 networks: by the kurtosis of an output, and ours."""
    rng = np.random.default_rng(0)

    def estimates(seed):
        G = chain(500, seed).G
        square = G[-1] * rng.standard_normal(500) ** 2
        kurtosis = N / 3 * ((square**2).mean() - 3 * square.mean() ** 2)
        return kurtosis, N * next_metric_moments(TANH, G[-2], N).variance

    spread = np.var([estimates(seed) for seed in range(60)], axis=0)
    ratio = spread[0] / spread[1]
    benchmark.extra_info.update(ratio=ratio, target=">= 200", against="kurtosis of one output")
    benchmark.pedantic(estimates, (0,), rounds=1)
    assert ratio > 200


def test_kernels_of_100_inputs(compare):
    """tanh has no closed form there; its Gauss-Hermite rule is wrong at 6e-5."""
    neural_tangents = pytest.importorskip("neural_tangents")
    from jax import jit
    from jax import numpy as jnp

    stax = neural_tangents.stax
    layers = [stax.Dense(1, W_std=1.0, b_std=None)]
    for _ in range(9):
        layers += [stax.ElementwiseNumerical(jnp.tanh, deg=25), stax.Dense(1, W_std=1.0)]
    kernel = jit(stax.serial(*layers)[2], static_argnames="get")
    x = np.random.default_rng(0).standard_normal((100, 64))
    x *= 8 / np.linalg.norm(x, axis=1, keepdims=True)
    K1 = input_kernel(TANH, x)
    compare(
        "kernel and tangent kernel, tanh, 100 inputs, 10 layers",
        lambda: kernels(TANH, K1, 10, bias_rate=0.0),
        lambda: kernel(x, x, get="ntk").block_until_ready(),
        against="neural-tangents",
        at_least=100,
        rounds=3,
    )
