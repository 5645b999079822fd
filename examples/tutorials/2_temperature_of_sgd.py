# %% [markdown]
# # The temperature of SGD
#
# The noise of mini-batches moves the weights as a heat bath would, at a temperature T = lr D / 2,
# where D is the variance of the mini-batch gradient. Is that so? Two copies of a network see the
# same mini-batches in small opposite fields. Their response and their displacement give a
# temperature without looking at the noise, T_eff = Δ / 2χ. Over one step the answer is exact:
# T_eff = lr (D + |∇E|²/N) / 2.

# %%
import runpy
from pathlib import Path

import matplotlib.pyplot as plt

example = next(
    path for path in (Path("examples"), Path("../../examples"), Path("..")) if path.is_dir()
)
temperatures = runpy.run_path(str(example / "effective_temperature.py"))["temperatures"]

# %% [markdown]
# `temperatures` trains sixteen networks on the digits and measures. Its forty lines are in
# `examples/effective_temperature.py`.

# %%
rows = []
print("  lr    B   T_eff, one step       lr D / 2, measured from the noise")
for lr in (0.05, 0.1):
    for batch_size in (8, 32):
        (T, error), later, (noise, own) = temperatures(lr, batch_size, waiting_time=10.0)
        rows.append((noise, T, error, later[0]))
        print(f"{lr:4} {batch_size:4}   {T:.2e} ± {error:.0e}   {noise:.2e} ± {own:.0e}")
        assert abs(T - noise) < 4 * (error + own) + 0.15 * noise

# %%
figure, axes = plt.subplots(figsize=(5, 4))
noise, T, error, later = zip(*rows, strict=True)
axes.errorbar(noise, T, error, fmt="o", color="#0072b2", label="response to a field, one step")
axes.plot(noise, later, "s", color="#d55e00", label="the same after 30 steps")
axes.plot(noise, noise, color="black", label="exact: lr D / 2")
axes.set(xscale="log", yscale="log", xlabel="lr D / 2", ylabel="T of the response")
axes.legend()

# %% [markdown]
# Doubling the step doubles the temperature, and four times the batch is a quarter of it. After
# thirty steps the network looks hotter than its noise: the mean gradient, which does not fade
# with B, moves it as well, and the directions of a network relax at different rates. SGD has *a*
# temperature only over short times.
