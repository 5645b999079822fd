"""DeepAR: an autoregressive recurrent network with a likelihood; its batches are dictionaries."""

import pytest
import torch
from torch.utils.data import DataLoader


def series(module, count):
    """Random series in the shapes that the model asks for."""
    shapes = module.model.describe_inputs(batch_size=1).shapes
    draws = torch.Generator().manual_seed(0)
    items = []
    for _ in range(count):
        item = {name: torch.randn(shape[1:], generator=draws) for name, shape in shapes.items()}
        item["feat_static_cat"] = torch.zeros_like(item["feat_static_cat"]).long()
        item["past_observed_values"] = torch.ones_like(item["past_observed_values"])
        item["future_target"] = torch.randn(2, generator=draws)
        item["future_observed_values"] = torch.ones(2)
        items.append(item)
    return items


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(compare):
    pytest.importorskip("gluonts", reason="gluonts is not installed")
    from gluonts.torch.model.deepar import DeepARLightningModule
    from lightning import pytorch as lightning

    model = DeepARLightningModule(
        {"freq": "D", "context_length": 5, "prediction_length": 2, "num_layers": 1,
         "hidden_size": 4, "num_feat_dynamic_real": 1, "num_feat_static_real": 1,
         "num_feat_static_cat": 1, "cardinality": [1], "lags_seq": [1, 2]}
    )  # fmt: skip
    compare(lightning, model, DataLoader(series(model, 24), batch_size=4))
