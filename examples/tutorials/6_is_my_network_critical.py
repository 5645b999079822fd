# %% [markdown]
# # Is my network critical?
#
# At initialisation a signal of size K changes from layer to layer. Where it neither grows nor
# shrinks, and gradients neither, a network is critical, and can be deep. PyTorch's default
# initialisation of `nn.Linear` is not critical for any activation. We measure how the signal of a
# deep tanh network shrinks with it, and compare with the exact recursion.

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from lightning_landscape.theory.wide_networks import Layer, criticality

width, depth, networks = 128, 12, 100


def variances(weight_variance):
    """Return the mean square of the preactivations of each layer, (networks, depth)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.ones(width)
    found = []
    for _ in range(networks):
        z, of_layer = x, []
        for _ in range(depth):
            layer = nn.Linear(width, width, bias=False)
            with torch.no_grad():
                layer.weight.normal_(0, (weight_variance / width) ** 0.5, generator=generator)
                z = layer(z)
            of_layer.append(z.square().mean())
            z = torch.tanh(z)
        found.append(torch.stack(of_layer))
    return torch.stack(found).double()


# %% [markdown]
# `nn.Linear` draws weights of variance 1/(3 fan-in), C_W = 1/3; the critical value for tanh is 1.

# %%
print(criticality("tanh"))
figure, axes = plt.subplots(figsize=(6, 4))
layers = range(1, depth + 1)
for C_W, name, colour in ((1 / 3, "default", "#d55e00"), (1.0, "critical", "#0072b2")):
    measured = variances(C_W)
    mean, error = measured.mean(0), measured.std(0) / networks**0.5
    exact = Layer("tanh", C_W, 0.0).flow(K1=C_W, depth=depth).K
    for layer in (2, 6, 12):
        value, bar, known = mean[layer - 1], error[layer - 1], exact[layer - 1]
        print(f"{name:<9} layer {layer:<3} K = {value:.3e} ± {bar:.0e}   exact {known:.3e}")
        assert abs(value - known) < 4 * bar + 2 * layer / width * known  # 1/n adds some percent
    axes.errorbar(layers, mean, error, fmt="o", color=colour, label=f"{name}, $C_W$ = {C_W:.2f}")
    axes.plot(layers, exact, color=colour)
axes.set(
    yscale="log", xlabel="layer", ylabel="K", title="points: 100 networks, lines: exact, n = ∞"
)
axes.legend()

# %% [markdown]
# With the default a signal loses a factor of three at every layer, and after twelve nothing is
# left of it; at the critical point it falls only as 1/layer. For a module of yours, from a
# terminal:
#
# ```bash
# python -m lightning_landscape criticality --module my_project.model:Net --data 3x32x32
# ```
