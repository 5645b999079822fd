# %% [markdown]
# # Where networks can no longer fit
#
# A perceptron with N weights fits P random patterns with margin κ, as long as P/N is below a
# capacity α_c(κ). Gardner computed it exactly. Beyond it some patterns stay unsatisfied, as
# spheres overlap that are packed too tightly. We walk across that transition.

# %%
from functools import partial

import matplotlib.pyplot as plt
import torch

from lightning_landscape import SphericalPerceptron
from lightning_landscape.dynamics import FIRE, minimize
from lightning_landscape.theory.jamming import perceptron_capacity

N, margin, replicas = 60, 1.0, 12
exact = perceptron_capacity(margin)
loads = [0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.8]
fitting, energies = [], []
for load in loads:
    perceptron = SphericalPerceptron(
        N=N, samples=round(load * N), margin=margin, replicas=replicas, seed=1, dtype="float64"
    )
    end = minimize(perceptron, partial(FIRE, lr=0.1), steps=1500, below=1e-8)
    fitting.append(end.done.double().mean().item())
    energies.append((end.energies / N).tolist())

print(f"capacity at margin {margin}: exact {exact:.4f}")
for load, share, energy in zip(loads, fitting, energies, strict=True):
    print(f"P/N = {load:4.2f}: {share:6.1%} of {replicas} samples fit, E/N = {max(energy):.2e}")
assert fitting[0] == 1 and fitting[-1] == 0

# %% [markdown]
# The transition is sharp only for N → ∞. Where half of the samples fit is an estimate at this N:

# %%
crossing = next(k for k, share in enumerate(fitting) if share < 0.5)
low, high = loads[crossing - 1], loads[crossing]
print(f"measured: between P/N = {low} and {high}   exact, N = ∞: {exact:.3f}")
assert low - 0.1 < exact < high + 0.1

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
axes[0].plot(loads, fitting, "o-", color="#0072b2", label=f"N = {N}")
axes[0].axvline(exact, color="black", label="exact capacity")
axes[0].set(xlabel="P / N", ylabel="share that fits")
axes[0].legend()
mean = torch.tensor(energies).mean(dim=1)
axes[1].plot(loads, mean, "o", color="#d55e00")
axes[1].axvline(exact, color="black")
axes[1].set(xlabel="P / N", ylabel="E / N of the minimum")

# %% [markdown]
# Networks with hidden layers have a line, too: P* grows in proportion to N, at about 3 N for
# random data, and it is found by the verb `jamming`, which chooses where to train next:
# `configs/papers/geiger_2019/line.yaml` (five minutes). The theory beyond the capacity (loss,
# gaps) is in `theory.jamming`, and `configs/perceptron/jammed.yaml` compares with it.
