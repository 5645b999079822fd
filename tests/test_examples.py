import runpy
from pathlib import Path

import pytest
import torch
import xarray

from lightning_landscape.testing import EnergyContract

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    return runpy.run_path(str(EXAMPLES / name))


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_probe_your_project(tmp_path):
    record = xarray.load_dataset(load("probe_your_project.py")["main"](2, tmp_path))
    assert (record["MSD"].sel(tw=10).dropna("t") > 0).all()


def test_new_energy_is_in_equilibrium():
    mean, error = load("new_energy.py")["main"](steps=4000)
    # quadrature 0.8714, of which the step size of 0.02 and the start at a minimum take little
    assert mean == pytest.approx(0.8714, abs=4 * error + 0.01)


class TestDoubleWell(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        wells = load("new_energy.py")["DoubleWell"](N=5, replicas=replicas)
        wells.load_configuration(torch.linspace(-2, 2, 5 * replicas).view(replicas, 5))
        return wells.to(getattr(torch, dtype))
