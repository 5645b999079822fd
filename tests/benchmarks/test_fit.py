"""What Lightning and the probes add to an integrator step."""

import pytest

from lightning_landscape.callbacks import AgingCorrelation
from lightning_landscape.dynamics import Langevin, constrain
from lightning_landscape.energies import SphericalPSpin
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer

STEPS = 5000


def dynamics(params):
    return Langevin(params, lr=0.02, temperature=0.3)


def glass():
    return SphericalPSpin(N=64, p=3, replicas=64)


def bare_loop():
    energy = glass()
    optimizer = constrain(dynamics(energy.parameters()), energy.constraint)
    for _ in range(STEPS):
        optimizer.zero_grad()
        energy().sum().backward()
        optimizer.step()


def fit(folder, callbacks):
    trainer = bare_trainer(callbacks, STEPS, folder, num_sanity_val_steps=0)
    trainer.fit(LandscapeModule(glass(), dynamics))


def test_probes_off(compare, tmp_path):
    compare(
        "fit, N = 64, R = 64, a step, probes off",
        lambda: fit(tmp_path, []),
        bare_loop,
        against="bare Python loop",
        at_most=1.15,
        rounds=5,
    )


def test_aging_on(compare, tmp_path):
    """The grid of configs/pspin/aging.yaml; the record and the exact curve are the run's end."""

    class WithoutTheEnd(AgingCorrelation):
        def write(self, trainer, final=False):
            pass

    def probe():
        return WithoutTheEnd(waiting_times=[0.5, 2, 8], first=0.1, last=30, per_decade=8)

    compare(
        "fit, N = 64, R = 64, a step, aging on",
        lambda: fit(tmp_path, [probe()]),
        bare_loop,
        against="bare Python loop",
        at_most=1.25,
        rounds=5,
    )


pytestmark = pytest.mark.filterwarnings("ignore")
