# %% [markdown]
# # How many dimensions a valley has
#
# At a low temperature T a quadratic direction holds the energy T/2, whatever its curvature. So
# the mean energy counts dimensions: n = 2⟨U⟩/T. And so do its fluctuations: n = 2 Var U / T². We
# check both on a valley of known dimension, in which most directions are flat.

# %%
import matplotlib.pyplot as plt
import torch

from lightning_landscape import LeimkuhlerMatthews, Quadratic

stiff, flat, replicas = 12, 48, 64
spectrum = [1.0 + 0.25 * k for k in range(stiff)] + [0.0] * flat
temperatures = torch.tensor([0.01, 0.03, 0.1, 0.3]).repeat_interleave(replicas // 4)
valley = Quadratic(spectrum=spectrum, replicas=replicas)
valley.load_configuration(torch.zeros(replicas, stiff + flat))
dynamics = LeimkuhlerMatthews(valley.parameters(), lr=0.2, temperature=temperatures, seed=1)

# %% [markdown]
# Four temperatures in one run: a temperature for each of the 64 replicas.

# %%
U = []
for step in range(3000):
    dynamics.zero_grad()
    energies = valley()
    energies.sum().backward()
    dynamics.step()
    if step >= 200:  # a hundred relaxation times of the softest direction, 1/lr
        U.append(valley().detach())
U = torch.stack(U).double().view(-1, 4, replicas // 4)  # step, temperature, chain
T = temperatures.view(4, -1)[:, 0].double()

# %%
of_mean = 2 * U.mean(0) / T[:, None]  # one for each chain
of_variance = 2 * U.var(0) / T[:, None] ** 2
print("T        2⟨U⟩/T          2 Var U/T²      exact")
for k, temperature in enumerate(T.tolist()):
    cells = []
    for values in (of_mean[k], of_variance[k]):
        error = values.std().item() / len(values) ** 0.5
        cells.append(f"{values.mean().item():6.2f} ± {error:.2f}")
        assert abs(values.mean().item() - stiff) < 4 * error
    print(f"{temperature:<6.2g} {cells[0]:>14} {cells[1]:>16} {stiff:>8}")

# %%
figure, axes = plt.subplots(figsize=(5.5, 3.8))
for values, name, colour in ((of_mean, "mean", "#0072b2"), (of_variance, "variance", "#d55e00")):
    bars = values.std(1) / values.shape[1] ** 0.5
    axes.errorbar(T, values.mean(1), bars, fmt="o", color=colour, label=f"from the {name} of U")
axes.axhline(stiff, color="black", label="exact")
axes.set(xscale="log", xlabel="T", ylabel="dimensions", ylim=(0, 2 * stiff))
axes.legend()

# %% [markdown]
# The 48 flat directions do not count, and none of the curvatures is needed. A network is not
# quadratic: its number of dimensions depends on T, and it has to reach equilibrium first. The
# probe `TemperatureFluctuations` measures n in four ways, `Equilibration` says whether two
# different starts agree, and `configs/papers/jules_2023/digits.yaml` uses both on the digits
# (half a minute).
