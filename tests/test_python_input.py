"""What Python callers may get wrong: one `UsageError`, one sentence, the argument by its name."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from lightning_landscape.callbacks import AgingCorrelation, EnergyRelaxation, GradientNoise
from lightning_landscape.callbacks.times import Times
from lightning_landscape.clock import log_times
from lightning_landscape.curvature import lanczos
from lightning_landscape.data import (
    Batches,
    LabelledData,
    Parity,
    RandomData,
    RandomLabels,
    Subset,
)
from lightning_landscape.dynamics import (
    FIRE,
    DecayingAdam,
    Langevin,
    Underdamped,
    minimize,
    minimize_lbfgs,
)
from lightning_landscape.energies import (
    Closure,
    Copies,
    DilutedPSpin,
    FullyConnected,
    NetworkEnergy,
    Quadratic,
    Replicated,
    SphericalPerceptron,
    SphericalPSpin,
    WithField,
)
from lightning_landscape.errors import UsageError
from lightning_landscape.exploration import Landscape, quench
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.observables import (
    configurational_temperature_ratio,
    displacement,
    field_response,
    gelman_rubin,
    overlap,
    replica_overlaps,
    two_starts,
    yaida_fdr1,
    yaida_fdr2,
)
from lightning_landscape.rng import Stream

NAN, SGD = math.nan, partial(torch.optim.SGD, lr=0.1)


def well(**options):
    return Quadratic([1.0, 3.0], replicas=2, **options)


def well_of(replicas):
    return Quadratic([1.0, 3.0], replicas=replicas)


def glass():
    return SphericalPSpin(N=8, replicas=2)


def parameter(*shape, dtype=torch.float32):
    return nn.Parameter(torch.ones(*shape, dtype=dtype), requires_grad=dtype.is_floating_point)


def labelled(inputs=None, targets=None):
    x, y = torch.ones(4, 3), torch.tensor([0, 1, 0, 1])
    return LabelledData(x if inputs is None else inputs, y if targets is None else targets, x, y, 2)


def state_of(optimizer):
    """The state of another optimizer after a step with the same parameter."""
    x = parameter(2, 3)
    other = optimizer([x])
    x.grad = torch.ones_like(x)
    other.step()
    return other.state_dict()


ADAM = partial(torch.optim.Adam, lr=0.1)
LANGEVIN = partial(Langevin, lr=0.1)

BAD = {
    # configurations
    "x is nan": ("x", lambda: well().load_configuration(torch.full((2, 2), NAN))),
    "x is infinite": ("x", lambda: well().load_configuration(torch.full((2, 2), math.inf))),
    "x off the sphere": ("x", lambda: glass().load_configuration(torch.ones(2, 8) * 2)),
    "x is 0 on a sphere": ("x", lambda: glass().load_configuration(torch.zeros(2, 8))),
    "x without replicas": ("x", lambda: well().load_configuration(torch.ones(2))),
    "x is integer": ("x", lambda: well().load_configuration(torch.ones(2, 2).long())),
    "x is a list": ("x", lambda: well().load_configuration([[1.0, 2.0], [1.0, 2.0]])),
    "x is a NumPy array": ("x", lambda: well().load_configuration(np.ones((2, 2)))),
    # seeds and sizes
    "seed of a stream": ("seed", lambda: Stream(1.5, "noise")),
    "seed of an energy": ("seed", lambda: well(seed=1.5)),
    "seed of a glass": ("seed", lambda: SphericalPSpin(N=8, seed="1")),
    "seed of a sampler": ("seed", lambda: Langevin([parameter(2, 3)], lr=0.1, seed=1.5)),
    "seed of batches": ("seed", lambda: Batches(4, seed=1.5)),
    "seed of a network": ("seed", lambda: FullyConnected([3, 1], seed=NAN)),
    "replicas of a quadratic": ("replicas", lambda: Quadratic([1.0], replicas=1.5)),
    "replicas of a perceptron": ("replicas", lambda: SphericalPerceptron(8, 4, replicas=1.5)),
    "N of a perceptron": ("N", lambda: SphericalPerceptron(8.5, 4)),
    "replicas of a network": ("replicas", lambda: FullyConnected([3, 1], replicas=2.0)),
    "widths of a network": ("widths", lambda: FullyConnected([3, 2.5, 1])),
    "copies": ("copies", lambda: Copies(well(), copies=2.5)),
    "start": ("start", lambda: well(start=NAN)),
    "batch_size": ("batch_size", lambda: Batches(2.5)),
    "samples": ("samples", lambda: RandomData(samples=2.5, dimension=3)),
    "samples of a subset": ("samples", lambda: Subset(labelled(), samples=1.5)),
    "field": ("field", lambda: WithField(well(), field=math.inf, waiting_times=[1])),
    "waiting time is nan": ("waiting_times", lambda: WithField(well(), 0.1, waiting_times=[NAN])),
    # data
    "inputs are nan": ("inputs", lambda: labelled(inputs=torch.full((4, 3), NAN))),
    "inputs are integers": ("inputs", lambda: labelled(inputs=torch.ones(4, 3).long())),
    "labels are floats": ("targets", lambda: labelled(targets=torch.tensor([0.0, 1.0, 0.0, 0.5]))),
    "margin is nan": (
        "margin",
        lambda: NetworkEnergy(FullyConnected([3, 1]), labelled(), "quadratic_hinge", margin=NAN),
    ),
    "architecture": ("architecture", lambda: NetworkEnergy(nn.Linear(3, 1), labelled())),
    "data": ("data", lambda: NetworkEnergy(FullyConnected([3, 2]), torch.ones(4, 3))),
    "energy to copy": ("energy", lambda: Copies(5)),
    "energy in a field": ("energy", lambda: WithField(5, 0.1, waiting_times=[1])),
    "p": ("p", lambda: DilutedPSpin(N=8, p=2.5)),
    "N": ("N", lambda: DilutedPSpin(N=8.5)),
    "replicas do not fit": ("replicas", lambda: well_of(10**11)),
    "samples do not fit": ("samples", lambda: RandomData(samples=10**11, dimension=4)),
    "widths do not fit": ("widths", lambda: FullyConnected([3, 10**7, 10**7, 1])),
    # dynamics
    "no parameters": ("params", lambda: Langevin([], lr=0.1)),
    "no parameters for FIRE": ("params", lambda: FIRE([], lr=0.1)),
    "no parameters for Adam": ("params", lambda: DecayingAdam([])),
    "a bare tensor": ("params", lambda: Langevin(parameter(2, 3), lr=0.1)),
    "integer parameters": ("params", lambda: Langevin([parameter(2, 3, dtype=torch.int64)], lr=1)),
    "lr is nan": ("lr", lambda: Langevin([parameter(2, 3)], lr=NAN)),
    "lr of FIRE is infinite": ("lr", lambda: FIRE([parameter(2, 3)], lr=math.inf)),
    "lr of Adam is infinite": ("lr", lambda: DecayingAdam([parameter(2, 3)], lr=math.inf)),
    "temperature is a word": (
        "temperature",
        lambda: Langevin([parameter(2, 3)], lr=0.1, temperature="hot"),
    ),
    "state of Adam": (
        "state_dict",
        lambda: Langevin([parameter(2, 3)], lr=0.1).load_state_dict(state_of(ADAM)),
    ),
    "state of SGD": (
        "state_dict",
        lambda: Underdamped([parameter(2, 3)], lr=0.1, friction=1.0).load_state_dict(state_of(SGD)),
    ),
    "state of Langevin": (
        "state_dict",
        lambda: FIRE([parameter(2, 3)], lr=0.1).load_state_dict(state_of(LANGEVIN)),
    ),
    "state of SGD for Adam": (
        "state_dict",
        lambda: DecayingAdam([parameter(2, 3)]).load_state_dict(state_of(SGD)),
    ),
    "every": ("every", lambda: DecayingAdam([parameter(2, 3)], every=2.5)),
    "no state": ("state_dict", lambda: Langevin([parameter(2, 3)], lr=0.1).load_state_dict({})),
    # minimizers
    "steps": ("steps", lambda: minimize(well(), SGD, steps=2.5)),
    "below is nan": ("below", lambda: minimize(well(), SGD, steps=2, below=NAN)),
    "steps of L-BFGS": ("steps", lambda: minimize_lbfgs(well(), steps=2.5)),
    "memory": ("memory", lambda: minimize_lbfgs(well(), memory=2.5)),
    "energy to minimize": ("energy", lambda: minimize(5, SGD, steps=2)),
    "energy for L-BFGS": ("energy", lambda: minimize_lbfgs(nn.Linear(2, 1))),
    "optimizer to minimize with": ("optimizer", lambda: minimize(well(), 0.1, steps=2)),
    "energy to explore": ("energy", lambda: Landscape(5)),
    # modules
    "energy of a module": ("energy", lambda: LandscapeModule(nn.Linear(2, 1), SGD)),
    "optimizer is no factory": ("optimizer", lambda: LandscapeModule(well(), 0.1)),
    "optimizer makes none": ("optimizer", lambda: LandscapeModule(well(), list)),
    "block_size": ("block_size", lambda: LandscapeModule(well(), SGD, block_size=2.5)),
    # probes and times
    "loss_fn": ("loss_fn", lambda: EnergyRelaxation(loss_fn=5)),
    "seed of a probe": ("seed", lambda: GradientNoise(seed=1.5)),
    "waiting times are nan": ("waiting_times", lambda: AgingCorrelation(waiting_times=[NAN])),
    "waiting times are infinite": (
        "waiting_times",
        lambda: AgingCorrelation(waiting_times=[math.inf]),
    ),
    "first is nan": ("first", lambda: log_times(NAN, 1)),
    "per_decade is huge": ("per_decade", lambda: log_times(1, 1e9, 10**8)),
    "interval is 0": ("interval", lambda: Times.every(0, 1.0)),
    "interval is tiny": ("interval", lambda: Times.every(1e-9, 1.0)),
    "last is infinite": ("last", lambda: log_times(1, math.inf)),
    # observables
    "shapes of an overlap": ("y.shape", lambda: overlap(torch.ones(2, 3), torch.ones(2, 4))),
    "shapes of a displacement": (
        "y.shape",
        lambda: displacement(torch.ones(2, 3), torch.ones(1, 3)),
    ),
    "chains are nan": ("x", lambda: gelman_rubin([[NAN, 1, 2, 3], [0, 1, 2, 3]])),
    "chains are short": ("x", lambda: gelman_rubin([[0, 1, 2], [0, 1, 2]])),
    "a group of chains is nan": ("above", lambda: two_starts([[NAN], [1]], [[0], [1]])),
    "a group of one chain": ("below", lambda: two_starts([[0], [1]], [[0]])),
    "overlaps without replicas": ("x.shape", lambda: replica_overlaps(torch.ones(3))),
    "steps of different shapes": (
        "x.shape",
        lambda: yaida_fdr1(torch.ones(2, 3), torch.ones(2, 4), 0.1),
    ),
    "a step that is a number": ("step", lambda: yaida_fdr2(1.0, torch.ones(1, 2), 1.0, 0.1)),
    "twins of different shapes": (
        "minus.shape",
        lambda: field_response(torch.ones(1, 2), torch.ones(1, 3), torch.ones(1, 2), 0.1),
    ),
    "no field": ("field", lambda: field_response(*3 * [torch.ones(1, 2)], 0.0)),
    "squares without traces": (
        "squares, traces",
        lambda: configurational_temperature_ratio([1.0, 2.0], [1.0], 0.1),
    ),
    # other places
    "an energy of a number": ("function", lambda: Closure(5, torch.ones(1, 2))),
    "replicas of a number": ("module", lambda: Replicated(5)),
    "parity of a number": ("data", lambda: Parity(5)),
    "random labels of a number": ("data", lambda: RandomLabels(5)),
    "eigenpairs of a tensor": ("operator", lambda: lanczos(torch.eye(3))),
    "a quench of an energy": ("landscape", lambda: quench(well(), torch.ones(2, 2))),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_argument_is_one_sentence_that_names_it(kind):
    argument, call = BAD[kind]
    with pytest.raises(UsageError) as error:
        call()
    sentence = str(error.value)
    assert sentence.startswith(argument)
    assert "\n" not in sentence
    assert len(sentence) < 300


class RootOfTheDistance(Quadratic):
    """E = |x - x_0|^2 to the power 1/2, whose gradient at x_0 is 0/0 though E = 0."""

    def forward(self, batch=None):
        return (self.x - 1).square().sum(1).sqrt()


def at_its_kink():
    energy = RootOfTheDistance([1.0, 1.0], replicas=3)
    energy.load_configuration(torch.tensor([[0.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    return energy


def fit(module, steps, callbacks=()):
    Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module)


@pytest.mark.parametrize("steps", [1, 2])
def test_a_gradient_that_is_not_finite_ends_the_run_and_names_the_replica(steps):
    """In the last step of a run too, whose energy does not show it."""
    with pytest.raises(UsageError, match="replica 2"):
        fit(LandscapeModule(at_its_kink(), SGD), steps)


def test_a_gradient_that_is_not_finite_ends_a_descent():
    with pytest.raises(UsageError, match="replica 2"):
        minimize(at_its_kink(), SGD, steps=1, below=-math.inf)
    with pytest.raises(UsageError, match="must be finite where the descent starts"):
        minimize_lbfgs(at_its_kink())


def test_times_beyond_the_end_of_a_run_are_said_once_at_its_start(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    module = LandscapeModule(well(), partial(Langevin, lr=1.0))
    with caplog.at_level("INFO"):
        fit(module, 3, [EnergyRelaxation(first=1, last=10, per_decade=1)])
    said = [record.getMessage() for record in caplog.records if "lie beyond" in record.getMessage()]
    assert said == ["energy_relaxation: 1 of its 3 times lie beyond the last step of the run, 3"]


def test_configurations_of_another_precision_and_on_the_sphere_up_to_rounding_are_loaded():
    energy = glass()
    x = energy.configuration()
    for same in (x, x.double(), -x, x * (1 + 1e-6)):
        energy.load_configuration(same)
        assert energy.configuration().equal(same.float())
