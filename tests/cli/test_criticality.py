"""The verb criticality: architectures, modules of the user, and what it says of them."""

import numpy as np
import pytest

from lightning_landscape import records
from lightning_landscape.__main__ import main

PROJECT = """
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Mlp(pl.LightningModule):
    def __init__(self, width=200, depth=5, activation=nn.Tanh):
        super().__init__()
        layers, n = [], 30
        for _ in range(depth):
            layers += [nn.Linear(n, width), activation()]
            n = width
        self.net = nn.Sequential(*layers, nn.Linear(n, 100))

    def forward(self, x):
        return self.net(x)

class Relu(Mlp):
    def __init__(self):
        super().__init__(activation=nn.ReLU)

def soft():
    return Mlp(activation=nn.Softplus)

class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.GELU(), nn.Conv2d(16, 16, 3),
            nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 16, 10))

    def forward(self, x):
        return self.layers(x)

class Functional(nn.Module):
    def __init__(self, pool=False):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 40, 3), nn.Conv2d(40, 40, 3)
        self.third, self.last = nn.Linear(360 if pool else 2560, 200), nn.Linear(200, 100)
        self.pool = pool

    def forward(self, x):
        x = F.relu(self.second(torch.relu(self.first(x))))
        x = F.max_pool2d(x, 2) if self.pool else x
        x = self.third(x.flatten(1)).relu_()
        return self.last(x)

class Normalized(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[
            part for n in (1, 32, 32, 32, 32)
            for part in (nn.Conv2d(n, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())])

    def forward(self, x):
        return self.layers(x)

class Block(nn.Module):
    def __init__(self, normalized):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1),
            nn.BatchNorm2d(16) if normalized else nn.Identity())
        if not normalized:
            nn.init.kaiming_normal_(self.parts[2].weight)

    def forward(self, x):
        return x + self.parts(x)

def residual(normalized):
    blocks = [Block(normalized) for _ in range(5)]
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Sequential(*blocks), nn.Conv2d(16, 4, 3))

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 7)

    def forward(self, x):
        return self.head(self.blocks(self.table(x)))

class Silent(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

def loader():
    x = torch.randn(40, 30)
    return DataLoader(TensorDataset(x, x[:, 0]), batch_size=20)

def tokens():
    return torch.arange(35).view(5, 7) % 7
"""


@pytest.fixture
def verb(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_project_of_networks.py").write_text(PROJECT)
    monkeypatch.syspath_prepend(tmp_path)

    def run(line):
        status = main(["criticality", *line.replace("my:", "my_project_of_networks:").split()])
        out, err = capsys.readouterr()
        return err if status else out

    return run


def test_a_critical_architecture(verb, tmp_path):
    said = verb(f"--widths 30 200 200 200 100 --activation tanh --seeds 16 --save {tmp_path}")
    assert "class       vanishing: K ~ 1/l (tanh)" in said
    assert "critical at C_W = 1, C_b = 0" in said
    assert "verdict     critical:" in said and "biases 1, 0.5, 0.333, 0.25" in said
    record = records.read(tmp_path / "criticality.nc")
    exact = record["K_exact"].isel(t=0)
    error = record["K"].std("replica", ddof=1).isel(t=0) / 4
    assert (np.abs(record["K"].mean("replica").isel(t=0) - exact)[1:] < 4 * error[1:]).all()
    assert (tmp_path / "criticality.png").is_file()


def test_an_architecture_that_is_not_critical(verb):
    said = verb("--widths 30 100 100 100 100 100 --activation tanh --weight_variance 3 --seeds 2")
    assert "verdict     supercritical: gradients" in said and "use C_W = 1, C_b = 0" in said
    assert "grow by 1.2" in said  # chi_perp of tanh at C_W = 3 is 1.2388
    with_skip = verb("--widths 30 100 100 100 10 --activation linear --skip 0.6 --seeds 2")
    assert "critical at C_W = 0.64" in with_skip


def test_the_default_of_pytorch_is_subcritical(verb):
    """Of six layers of tanh: K shrinks threefold a layer, as the issue with it says."""
    said = verb("--module my:Mlp --data 30 --seeds 3")
    assert "verdict     subcritical: signals shrink by 0.33 a layer and gradients by 0.33" in said
    assert "PyTorch's default" in said and "use C_W = 1, C_b = 0" in said
    assert "net.0" in said and "Tanh" in said
    relu = verb("--module my:Relu --data my:loader --seeds 3")
    assert "subcritical: signals shrink by 0.17 a layer" in relu and "use C_W = 2" in relu
    init = verb('--module my:Mlp --init {"width":50,"depth":2} --data 30 --seeds 1')
    assert "net.4" in init and "net.6" not in init


def test_activations_called_as_functions_are_known_by_name(verb):
    """As relu, F.relu and the method; a view changes nothing."""
    said = verb('--module my:Functional --init {"pool":false} --data 1x12x12 --seeds 4')
    assert "class       scale-invariant: K keeps any value (relu)" in said
    assert "subcritical: signals shrink by 0.17 a layer" in said and "theory ends" not in said
    assert "in torch    nn.init.normal_(layer.weight, std=(2 / fan_in) ** 0.5)" in said
    assert "nn.init.zeros_(layer.bias)" in said


def test_a_network_with_pooling_is_advised_by_its_activation(verb):
    said = verb('--module my:Functional --init {"pool":true} --data 1x10x10 --seeds 2')
    assert "theory ends at second: relu, max_pool2d is more than one activation" in said
    assert "as measured, gradients shrink by 0." in said
    assert "PyTorch's default" in said and "use C_W = 2, C_b = 0" in said


def test_batch_normalisation_makes_gradients_grow(verb):
    """By pi / (pi - 1) = 1.467 a layer for ReLU, and somewhat less for few channels."""
    said = verb("--module my:Normalized --data 1x10x10 --seeds 2")
    assert "as measured, gradients grow by 1.3" in said and "1.46" in said
    assert "batch normalisation does so at any C_W" in said and "use C_W" not in said
    assert "χ⊥ of layers.0 depends on the size of the inputs" in said


@pytest.mark.parametrize("normalized", [True, False])
def test_residual_blocks_get_advice(verb, normalized):
    """Both grow; a normalised branch can start at 0, and the first growth is that of the data."""
    init = f'{{"normalized":{str(normalized).lower()}}}'
    said = verb(f"--module my:residual --init {init} --data 3x8x8 --seeds 2")
    assert "as measured, gradients grow by" in said
    if normalized:
        assert "let the blocks start as the identity" in said and "a layer from 1.0 to" in said
        assert "BatchNorm2d within blocks" in said and "χ∥ is 0 there" not in said
    else:
        assert "divide what each block adds by the square root of their number" in said


def test_what_ends_theory_is_said(verb):
    conv = verb("--module my:Conv --data 3x12x12 --seeds 2")
    assert "BatchNorm2d sets K to its own scale" in conv
    assert "theory ends at layers.3" in conv and "verdict     as measured" in conv
    attention = verb("--module my:Attention --data my:tokens --seeds 1")
    assert "MultiheadAttention: no theory of independent neurons" in attention
    assert "softplus is critical at no initialisation" in verb("--module my:soft --data 30")


@pytest.mark.parametrize(
    "line, sentence",
    [
        ("", "module = None: give either a module or widths"),
        ("--widths 3 4", "widths = [3, 4]: must have a hidden layer"),
        ("--widths 3 4 5 --activation softmax", "activation = softmax: must be "),
        ("--module my:Mlp", "data = None: is needed with --module"),
        ("--module my:Mlp --data 3x", "data = 3x: is no shape"),
        ("--module my:Mlp --data 7", "module = my_project_of_networks:Mlp: RuntimeError: mat1"),
        ("--module my:Nothing --data 7", "module = my_project_of_networks:Nothing: cannot be imp"),
        ("--module os:system --data 7", "module.class_path = os.system: is of Python's standard"),
        ("--module my.Mlp --data 7", "module = my.Mlp: must be path:name"),
        ("--module my:loader --data 7", "module = DataLoader: must make an nn.Module"),
        ("--module my:Silent --data 3", "has no forward(inputs)"),
        ("--module my:Mlp --init 3 --data 30", "init = 3: must be {name: value"),
        ("--module my:Mlp --layers net.99 net.0 --data 30", "layers = net.99: is no submodule"),
        ("--widths 3 4 5 --seeds 0", "seeds = 0: must be at least 1"),
    ],
)
def test_bad_input_is_one_sentence(verb, line, sentence):
    said = verb(line)
    assert sentence in said and said.startswith("error: ") and said.count("\n") == 1
