"""The temporal fusion transformer: recurrent layers, dictionaries of inputs, its own metrics."""

import numpy as np
import pytest


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(compare):
    forecasting = pytest.importorskip(
        "pytorch_forecasting", reason="pytorch-forecasting is not installed"
    )
    import pandas as pd
    from lightning import pytorch as lightning
    from pytorch_forecasting.metrics import QuantileLoss

    time = np.tile(np.arange(30), 4)
    group = np.repeat(list("abcd"), 30)
    table = pd.DataFrame({"time": time, "group": group, "value": np.sin(time / 3.0) + 2.0})
    series = forecasting.TimeSeriesDataSet(
        table, time_idx="time", target="value", group_ids=["group"], max_encoder_length=6,
        max_prediction_length=2, time_varying_unknown_reals=["value"],
        static_categoricals=["group"],
    )  # fmt: skip
    model = forecasting.TemporalFusionTransformer.from_dataset(
        series, hidden_size=4, hidden_continuous_size=2, attention_head_size=1,
        loss=QuantileLoss([0.1, 0.5, 0.9]), log_interval=-1,
    )  # fmt: skip
    compare(lightning, model, series.to_dataloader(train=True, batch_size=8, num_workers=0))
