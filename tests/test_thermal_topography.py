"""The low-loss region of a network at temperature T, end to end: Jules et al. 2023.

The network of the reference numbers: 10 inputs, three tanh layers of 16, 737 parameters, 40 random
labels, mean log-loss. All of it is slow; by default the same identities are tested on smaller
networks by the samplers (`test_gibbs`) and on valleys by the probe (`test_fluctuations`).
"""

import logging
import math
from functools import cache

import numpy as np
import pytest
import torch

from lightning_landscape import records
from lightning_landscape.callbacks import TemperatureFluctuations
from lightning_landscape.data import RandomData
from lightning_landscape.dynamics import Langevin
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer


def network(replicas):
    net = FullyConnected([10, 16, 16, 16, 1], replicas=replicas, activation="tanh")
    return NetworkEnergy(net, RandomData(samples=40, dimension=10))


@cache
def fitted(replicas):
    """The configurations of networks that fit, shape (R, N)."""
    energy = network(replicas)
    assert energy.N == 737
    descent = torch.optim.SGD(energy.parameters(), lr=0.2)
    for _ in range(3000):
        descent.zero_grad()
        energy().sum().backward()
        descent.step()
    return energy.configuration()


def thermal(folder, ladder, chains, equilibration, steps, **settings):
    """Run ``chains`` at each {temperature: lr}, from networks that fit; times in steps."""
    R = chains * len(ladder)
    energy = network(R)
    energy.load_configuration(fitted(max(R, 12))[:R])
    temperature = [T for T in ladder for _ in range(chains)]
    rates = [lr for lr in ladder.values() for _ in range(chains)]
    lr = rates if len(ladder) > 1 else rates[0]
    unit = 1 if len(ladder) > 1 else rates[0]  # of the clock
    settings |= {"max_share": math.inf}
    probe = TemperatureFluctuations(equilibration * unit, last=steps * unit, **settings)
    module = LandscapeModule(
        energy, lambda params: Langevin(params, lr=lr, temperature=temperature, seed=1)
    )
    trainer = bare_trainer([probe], steps, folder)
    trainer.fit(module)
    return records.read(next(folder.rglob("temperature_fluctuations.nc")))


@pytest.mark.slow
def test_the_ito_ratio_of_a_good_and_of_a_bad_step(tmp_path, caplog):
    """1 within 4 standard errors at lr = 0.005; above 1.3 with a warning at 0.1; T = 1e-3."""
    looks = {"k": 1, "random_vectors": 2, "measurements": 15}
    with caplog.at_level(logging.WARNING):
        good = thermal(tmp_path / "good", {1e-3: 0.005}, 12, 1000, 2500, **looks)
        assert "lower lr" not in caplog.text
        bad = thermal(tmp_path / "bad", {1e-3: 0.1}, 6, 300, 800, **looks)
        assert "lower lr" in caplog.text
    assert abs(good["temperature_ratio"] - 1) < 4 * good["temperature_ratio_error"]
    assert good["temperature_ratio_error"] < 0.1
    assert bad["temperature_ratio"] > 1.3


def looks_quadratic_in_few_directions(record):
    """2 <U>/T and 2 Var U/T^2 within 6 and 30 of 737, and equal to 30 % or 4 standard errors."""
    for k in range(record.sizes["rung"]):
        N_mean, N_var = float(record["N_mean"][k]), float(record["N_var"][k])
        assert 6 < N_mean < 30 and 6 < N_var < 30
        error = math.hypot(float(record["N_mean_error"][k]), float(record["N_var_error"][k]))
        assert abs(N_var - N_mean) < max(0.3 * N_mean, 4 * error)


@pytest.mark.slow
def test_fluctuations_look_quadratic_and_curvature_does_not(tmp_path):
    """tr H grows 3 to 12 times over a decade of T, where a quadratic valley has a constant."""
    record = thermal(
        tmp_path, {1e-4: 0.05, 1e-3: 0.01}, 6, 3000, 7000, k=1, random_vectors=4, measurements=8
    )
    looks_quadratic_in_few_directions(record)
    cold, hot = record["tr_H"].to_numpy()
    assert 3 < hot / cold < 12


@pytest.mark.slow
def test_the_reference_numbers(tmp_path):
    """Three temperatures, 16 chains: dimensions, tr H and the Ito ratio, 1 within 5 % or 3 errors.

    Of the two upper temperatures N_mean, N_var and tr H as known, within 25 %; the lowest drifts.
    """
    ladder = {1e-5: 0.5, 1e-4: 0.05, 1e-3: 0.01}
    record = thermal(tmp_path, ladder, 16, 20_000, 40_000, k=1, random_vectors=6, measurements=60)
    looks_quadratic_in_few_directions(record)
    traces = record["tr_H"].to_numpy()
    growth = traces[1:] / traces[:-1]
    assert (growth > 3).all() and (growth < 12).all()
    assert record["N_mean"][1:].to_numpy() == pytest.approx([10.8, 9.6], rel=0.25)
    assert record["N_var"][1:].to_numpy() == pytest.approx([9.5, 8.8], rel=0.25)
    assert traces[1:] == pytest.approx([1.44, 8.85], rel=0.25)
    ratio, error = (
        record["temperature_ratio"].to_numpy(),
        record["temperature_ratio_error"].to_numpy(),
    )
    assert (abs(ratio - 1) < np.maximum(0.05, 3 * error)).all()
