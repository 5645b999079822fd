"""Tables: embeddings of categories; the package makes the Trainer itself and takes callbacks."""

import numpy as np
import pytest
import torch

from lightning_landscape.callbacks import EnergyRelaxation, GradientNoise, HessianSpectrum


def fitted(table, callbacks, folder):
    from pytorch_tabular import TabularModel, config
    from pytorch_tabular.models import CategoryEmbeddingModelConfig

    model = TabularModel(
        data_config=config.DataConfig(
            target=["y"], continuous_cols=["a", "b"], categorical_cols=["kind"]
        ),
        model_config=CategoryEmbeddingModelConfig(task="classification", layers="8", dropout=0.1),
        optimizer_config=config.OptimizerConfig(),
        trainer_config=config.TrainerConfig(
            batch_size=32, max_epochs=2, accelerator="cpu", early_stopping=None, checkpoints=None,
            load_best=False, progress_bar="none", trainer_kwargs={"default_root_dir": str(folder)},
        ),
        verbose=False,
    )  # fmt: skip
    model.fit(train=table, callbacks=callbacks)
    return model.model.state_dict()


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(tmp_path):
    pytest.importorskip("pytorch_tabular", reason="pytorch-tabular is not installed")
    import pandas as pd

    draws = np.random.default_rng(0)
    table = pd.DataFrame(draws.normal(size=(200, 2)), columns=["a", "b"])
    table["y"] = (table["a"] + table["b"] > 0).astype(int)
    table["kind"] = draws.integers(0, 3, 200).astype(str)
    few = {"k": 1, "random_vectors": 2, "max_share": float("inf"), "per_decade": 1}
    probes = [EnergyRelaxation(last=4), GradientNoise(last=2, groups=2), HessianSpectrum(**few)]
    without, with_probes = (fitted(table, list(of), tmp_path) for of in ((), probes))
    for name, value in without.items():
        assert torch.equal(value, with_probes[name]), name
    for probe, quantity in zip(probes, ("energy", "D", "highest"), strict=True):
        assert probe.active and probe.results[quantity].isfinite().all()
