"""Graph convolutions; a batch is one object with the nodes and edges of several graphs."""

import pytest
import torch


@pytest.mark.filterwarnings("ignore")  # what the packages themselves say
def test_probes_measure_and_change_nothing(compare):
    pytest.importorskip("torch_geometric", reason="torch-geometric is not installed")
    import pytorch_lightning as lightning
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader
    from torch_geometric.nn import GCNConv, global_mean_pool

    class Regression(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.first, self.second = GCNConv(4, 8), GCNConv(8, 8)
            self.out = torch.nn.Linear(8, 1)

        def loss(self, x, edges, graph, y):
            x = torch.tanh(self.second(torch.tanh(self.first(x, edges)), edges))
            return (self.out(global_mean_pool(x, graph))[:, 0] - y).square().mean()

        def training_step(self, batch, batch_idx):
            return self.loss(batch.x, batch.edge_index, batch.batch, batch.y)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    graphs = [
        Data(x=torch.randn(n, 4), edge_index=torch.randint(n, (2, 3 * n)), y=torch.randn(1))
        for n in torch.randint(4, 9, (40,)).tolist()
    ]
    model, loader = Regression(), DataLoader(graphs, batch_size=8)
    energy, _, noise, *_ = compare(lightning, model, loader)
    gradients = []
    for batch in [*loader][:2]:
        loss = model.training_step(batch, 0)
        parts = torch.autograd.grad(loss, list(model.parameters()))
        gradients.append(torch.cat([part.flatten() for part in parts]))
    first = model.training_step(next(iter(loader)), 0).item()
    assert energy.results["energy"][0, 0].item() == pytest.approx(first, rel=1e-6)
    D = torch.stack(gradients).double().var(0).mean().item()
    assert noise.results["D"][0, 0].item() == pytest.approx(D, rel=1e-5)
