"""Message passing on molecular graphs; its batches are named tuples of graphs and targets."""

import numpy as np
import pytest

MOLECULES = ["CCO", "CCN", "CCC", "c1ccccc1", "CC(=O)O", "CCCl", "CCBr", "CO", "CNC", "COC"]


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(compare):
    pytest.importorskip("chemprop", reason="chemprop is not installed")
    from chemprop import data, featurizers, models, nn
    from lightning import pytorch as lightning

    points = [data.MoleculeDatapoint.from_smi(s, np.array([float(len(s))])) for s in MOLECULES * 2]
    molecules = data.MoleculeDataset(points, featurizers.SimpleMoleculeMolGraphFeaturizer())
    model = models.MPNN(
        nn.BondMessagePassing(d_h=8, depth=2),
        nn.MeanAggregation(),
        nn.RegressionFFN(input_dim=8, hidden_dim=8),
    )
    compare(lightning, model, data.build_dataloader(molecules, batch_size=5, shuffle=False))
