"""Probes in projects of others; each is skipped where its package is not installed.

pip install -r tests/third_party/requirements.txt    # an environment of its own is best
pytest tests/third_party
"""

import copy
import math
import warnings

import pytest
import torch

from lightning_landscape.callbacks import (
    AgingCorrelation,
    EnergyRelaxation,
    GradientNoise,
    HessianSpectrum,
    LearningCoefficient,
    Stationarity,
)

MEASURED = {
    "EnergyRelaxation": "energy",
    "HessianSpectrum": "highest",
    "GradientNoise": "D",
    "LearningCoefficient": "learning_coefficient",
    "AgingCorrelation": "MSD",
    "Stationarity": "left1",
}


def probes():
    """All probes for any project, at the steps 0 to 4."""
    few = {"k": 1, "random_vectors": 2, "steps": 3, "max_products": 12, "dense_up_to": 0}
    return [
        EnergyRelaxation(last=4),
        HessianSpectrum(last=3, per_decade=1, max_share=math.inf, **few),
        GradientNoise(last=2, groups=2),
        LearningCoefficient(lr=1e-6, steps=2, burn_in=0, temperature=0.1, last=2),
        AgingCorrelation([1], last=3),
        Stationarity(last=4),
    ]


@pytest.fixture
def compare(tmp_path):
    """Return what trains a model with and without probes, and compares the two ends."""

    def compare(lightning, model, loader, steps=5, refused=()):
        ends, measured = [], probes()
        for callbacks in ([], measured):
            torch.manual_seed(0)
            module = copy.deepcopy(model)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the packages themselves
                lightning.Trainer(
                    max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False,
                    default_root_dir=tmp_path, enable_progress_bar=False, barebones=False,
                    enable_checkpointing=False, enable_model_summary=False,
                ).fit(module, loader)  # fmt: skip
            ends.append(module.state_dict())
        for name, value in ends[0].items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, ends[1][name]), name
        for probe in measured:
            name = type(probe).__name__
            assert probe.active == (name not in refused), name
            if probe.active:
                assert probe.results[MEASURED[name]].isfinite().any(), name
        return measured

    return compare
