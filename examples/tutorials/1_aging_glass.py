# %% [markdown]
# # A glass that ages, against Cugliandolo and Kurchan
#
# A spherical glass is quenched from infinite temperature to T = 0.3, below its dynamical
# transition at T_d = 0.612. It never reaches equilibrium: its energy creeps down to the
# threshold, and the longer it has waited, the longer it takes to forget. For N = ∞ its
# correlation obeys closed equations, which the package solves. We measure C(t_w + t, t_w) at N =
# 128 and compare.

# %%
import matplotlib.pyplot as plt
import torch

from lightning_landscape import LeimkuhlerMatthews, SphericalPSpin
from lightning_landscape.theory.glasses.cugliandolo_kurchan import solve

replicas, temperature, lr = 24, 0.3, 0.02
glass = SphericalPSpin(N=128, p=3, replicas=replicas, disorder="independent", seed=1)
dynamics = LeimkuhlerMatthews(
    glass.parameters(), lr=lr, temperature=temperature, seed=1, constraint=glass.constraint
)

# %% [markdown]
# One step is what it is for every torch optimizer. The energies of all replicas are summed before
# `backward`, so that each gets its own gradient. Each replica has couplings of its own: the error
# bars below cover the disorder.

# %%
waiting_times, last = (0.5, 4.0), 20.0
times = [0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0]
starts, C, E = {}, {}, {}
for step in range(1, round(last / lr) + 1):
    dynamics.zero_grad()
    energies = glass()
    energies.sum().backward()
    dynamics.step()
    t, x = round(step * lr, 6), glass.configuration().detach()
    if t in waiting_times:
        starts[t] = x.clone()
    for tw, start in starts.items():
        if round(t - tw, 6) in times:
            C[tw, round(t - tw, 6)] = (x * start).mean(dim=1)  # one for each replica
    if t in times:
        E[t] = glass().detach() / glass.N

# %% [markdown]
# The exact curves of N = ∞ take a fraction of a second.

# %%
exact = solve({3: 0.5}, temperature, t_max=last + 1)


def mean_and_error(values):
    return values.mean().item(), values.std().item() / len(values) ** 0.5


print("                measured      exact   deviation")
for (tw, t), values in C.items():
    measured, error = mean_and_error(values)
    known = exact.correlation(tw + t, tw).item()
    far = (measured - known) / error
    print(f"C({tw:g} + {t:<4g})  {measured:8.4f} ± {error:.4f}  {known:7.4f}  {far:+5.1f} σ")
    assert abs(measured - known) < 4 * error + 0.03  # N = 128 adds up to 0.03
for t, values in E.items():
    measured, error = mean_and_error(values)
    print(f"E({t:<4g})        {measured:8.4f} ± {error:.4f}  {exact.energy(t).item():7.4f}")

# %%
figure, axes = plt.subplots(figsize=(6, 4))
t = torch.logspace(-1, 1.2, 60).numpy()
for tw, colour in zip(waiting_times, ("#0072b2", "#d55e00"), strict=True):
    points = [(t, *mean_and_error(values)) for (at, t), values in C.items() if at == tw]
    axes.errorbar(*zip(*points, strict=True), fmt="o", color=colour, label=f"$t_w = {tw:g}$")
    axes.plot(t, exact.correlation(tw + t, tw), color=colour)
axes.set(
    xscale="log", xlabel="t", ylabel="$C(t_w + t, t_w)$", title="points: N = 128, lines: exact"
)
axes.legend()

# %% [markdown]
# The curves of the two waiting times differ: the glass ages. What is left between points and
# lines is mostly the finite size; the energy lies above the exact one by about 1.5/N^(2/3). The
# same with more times, the collapse and the exponents, from one file: `python -m
# lightning_landscape fit --config configs/pspin/aging.yaml`.
