"""A physics-informed network: derivatives in its loss, and tensors whose columns have names."""

import math

import pytest
import torch

from lightning_landscape.callbacks import EnergyRelaxation, GradientNoise, HessianSpectrum


def fitted(callbacks, folder):
    from pina import Trainer
    from pina.model import FeedForward
    from pina.problem.zoo import Poisson2DSquareProblem
    from pina.solver import PINN

    torch.manual_seed(0)
    problem = Poisson2DSquareProblem()
    problem.discretise_domain(5, "grid")
    net = FeedForward(input_dimensions=2, output_dimensions=1, layers=[8])
    solver = PINN(problem=problem, model=net)
    Trainer(
        solver, max_epochs=6, accelerator="cpu", callbacks=callbacks, logger=False,
        default_root_dir=folder, enable_checkpointing=False, enable_progress_bar=False,
    ).train()  # fmt: skip
    return solver.state_dict()


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(tmp_path):
    pytest.importorskip("pina", reason="pina-mathlab is not installed")
    few = {"k": 1, "random_vectors": 2, "max_share": math.inf, "per_decade": 1, "last": 4}
    probes = [EnergyRelaxation(last=4), GradientNoise(last=2, groups=2), HessianSpectrum(**few)]
    without, with_probes = fitted([], tmp_path), fitted(list(probes), tmp_path)
    for name, value in without.items():
        assert torch.equal(value, with_probes[name]), name
    for probe, quantity in zip(probes, ("energy", "D", "highest"), strict=True):
        assert probe.active and probe.results[quantity].isfinite().all()
