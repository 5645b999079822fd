"""A variational autoencoder of single cells; the package makes the Trainer and the batches."""

import math

import numpy as np
import pytest
import torch

from lightning_landscape.callbacks import EnergyRelaxation, GradientNoise, HessianSpectrum


def fitted(callbacks, folder):
    import anndata
    import scvi

    scvi.settings.seed = 0
    counts = np.random.default_rng(0).poisson(2.0, (120, 20)).astype("float32")
    cells = anndata.AnnData(counts)
    cells.obs["batch"] = ["a", "b"] * 60
    scvi.model.SCVI.setup_anndata(cells, batch_key="batch")
    model = scvi.model.SCVI(cells, n_latent=3, n_hidden=8)
    model.train(
        max_epochs=2, batch_size=16, accelerator="cpu", callbacks=callbacks, logger=False,
        default_root_dir=folder, early_stopping=False, enable_progress_bar=False,
    )  # fmt: skip
    return model.module.state_dict()


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(tmp_path):
    pytest.importorskip("scvi", reason="scvi-tools is not installed")
    few = {"k": 1, "random_vectors": 2, "max_share": math.inf, "per_decade": 1, "last": 4}
    probes = [EnergyRelaxation(last=4), GradientNoise(last=2, groups=2), HessianSpectrum(**few)]
    without, with_probes = fitted([], tmp_path), fitted(list(probes), tmp_path)
    for name, value in without.items():
        assert torch.equal(value, with_probes[name]), name
    for probe, quantity in zip(probes, ("energy", "D", "highest"), strict=True):
        assert probe.active and probe.results[quantity].isfinite().all()
