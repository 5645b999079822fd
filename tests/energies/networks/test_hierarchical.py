"""The convolutional network of a tree, against torch's convolutions."""

import pytest
import torch
from torch import nn

from lightning_landscape.data import RandomHierarchy
from lightning_landscape.energies import HierarchicalConvNet, NetworkEnergy
from lightning_landscape.errors import UsageError


@pytest.mark.parametrize("shared", [True, False])
def test_against_strided_convolutions(shared):
    R, P, s, v, w, k = 3, 5, 3, 4, 6, 2
    net = HierarchicalConvNet(2, v, k, branching=s, width=w, activation="tanh", replicas=R, seed=1)
    x = torch.randn(1 if shared else R, P, s**2, v, generator=torch.Generator().manual_seed(0))
    for r in range(R):
        h = x[0 if shared else r].transpose(1, 2)
        for l, channels in enumerate((v, w)):
            kernel = net.weights[l][r].view(w, s, channels).transpose(1, 2)
            z = nn.functional.conv1d(h, kernel, net.biases[l][r], stride=s)
            found = net.preactivations(list(net.parameters()), x)[l][r]
            assert torch.allclose(found.T.view(P, -1, w), z.transpose(1, 2), atol=1e-5)
            h = torch.tanh(z)
        outputs = h.squeeze(2) @ net.weights[2][r].T + net.biases[2][r]
        assert torch.allclose(net(x)[r], outputs, atol=1e-5)


def test_in_an_energy():
    data = RandomHierarchy(v=4, m=2, L=2, n_c=3, samples=12, test_samples=6)
    net = HierarchicalConvNet(2, 4, 3, width=5, replicas=2)
    energy = NetworkEnergy(net, data)
    assert energy.N == 5 * (8 + 1) + 5 * (10 + 1) + 3 * (5 + 1)
    assert net.values_per_sample((4, 4)) == 2 * 5 + 5 + 3
    energy().sum().backward()
    again = HierarchicalConvNet(2, 4, 3, width=5, replicas=4)
    assert torch.equal(again.weights[1][:2], net.weights[1])


def test_misuse():
    with pytest.raises(UsageError, match=r"shape of a sample = \(16, 4\): must be \(4, 4\)"):
        HierarchicalConvNet(2, 4, 3).output_size((16, 4))
    with pytest.raises(UsageError, match="branching = 1"):
        HierarchicalConvNet(2, 4, 3, branching=1)
