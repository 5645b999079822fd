"""All probes in one run, where it is not the plain loop: nothing changes, and each measures.

The contract of a single probe has the same situations, but by default for three probes only; see
``tests/conftest.py``.
"""

import math

import pytest
import torch

from lightning_landscape import callbacks
from lightning_landscape.data import Batches
from lightning_landscape.observables.gaps import classification_gaps
from lightning_landscape.testing.probe import Classifier, TwoOptimizers, train

SITUATIONS = {
    "accumulation, clipping and bf16": (
        Classifier,
        {"accumulate_grad_batches": 3, "gradient_clip_val": 0.1, "precision": "bf16-mixed"},
    ),
    "manual, two optimizers": (TwoOptimizers, {}),
}
# the steps of 24 batches, of which three make one where gradients are accumulated
TIMES = {"first": 1, "last": 6, "per_decade": 2}
FEW = {"k": 1, "random_vectors": 2, "groups": 4, "batches": Batches(8)}


def outputs(module, x):
    return module.net(x.flatten(1))


def gaps(module, batch):
    return classification_gaps(module.net(batch[0]), batch[1])


def probes():
    return [
        callbacks.EnergyRelaxation(**TIMES),
        callbacks.AgingCorrelation([1, 3], first=1, last=3),
        callbacks.HessianSpectrum(
            **TIMES, k=2, random_vectors=2, steps=4, dense_up_to=0, max_share=math.inf
        ),
        callbacks.GradientNoise(**TIMES, groups=4, batches=Batches(8)),
        callbacks.NoiseSpectrum(**TIMES, **FEW),
        callbacks.LearningCoefficient(**TIMES, lr=0.01, steps=4, burn_in=1, temperature=0.01),
        callbacks.GapDistribution(**TIMES, gap_fn=gaps),
        callbacks.TemperatureFluctuations(
            equilibration=1, last=6, measurements=2, max_share=math.inf
        ),
        callbacks.Stationarity(interval=0.2, last=6),
        callbacks.LossSurface(times=[0, 2], points=3),
        callbacks.Equilibration(every=3, last=6),
        callbacks.EdgeOfStability(first=1, last=6, max_products=6, max_share=math.inf),
        callbacks.ClassBalance(first=1, last=6, output_fn=outputs),
        callbacks.TangentKernel(last=6, samples=5, output_fn=outputs),
        callbacks.Criticality(last=6),
        callbacks.SynonymInvariance(last=6, samples=8, output_fn=outputs, v=2, m=2, L=2, n_c=2),
    ]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_all_probes_leave_the_trajectory_as_it_is(situation, tmp_path):
    make, settings = SITUATIONS[situation]
    alone, measured, together = make(), make(), probes()
    train(alone, tmp_path, [], **settings)
    train(measured, tmp_path, together, **settings)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, measured.state_dict()[name]), name
    idle = [type(p).__name__ for p in together if not p.active or p.measured_step <= 0]
    assert not idle
