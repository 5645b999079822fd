# %% [markdown]
# # The landscape of XOR as a disconnectivity graph
#
# A network of two hidden units that learns XOR is the smallest one with a landscape worth the
# name. We find its minima by quenches and the transition states between them by eigenvector
# following, and draw which minima are connected below which loss.

# %%
import math

import matplotlib.pyplot as plt
import torch

from lightning_landscape.data import XOR
from lightning_landscape.energies import FullyConnected, NetworkEnergy, WithL2
from lightning_landscape.exploration import Explorer, Landscape
from lightning_landscape.results.registry import look_up

network = FullyConnected([2, 2, 2], activation="tanh", dtype="float64")
loss = WithL2(NetworkEnergy(network, XOR()), strength=0.001)
explorer = Explorer(Landscape(loss), width=2.0, kick=1.5, max_step=0.5, flat=1e-5)
database = explorer.run(quenches=60, searches=60).sorted()

# %% [markdown]
# A longer search (`configs/xor/landscape.yaml`) knows four minima, up to the symmetries of
# the network, and 11 transition states. A fifth minimum, all weights zero, has a basin so small
# that only transition states lead there. Its loss is exactly ln 2.

# %%
found_before = [0.083558, 0.092673, 0.399091, 0.418712]
minima = database.minima.energy
print("minimum   measured   longer search")
for k, (energy, known) in enumerate(zip(minima, found_before, strict=False)):
    print(f"{k:<9} {energy:.6f}   {known:.6f}")
    assert abs(energy - known) < 1e-6
print(f"transition states found: {len(database.transition_states.energy)} of 11")

loss.load_configuration(torch.zeros(1, loss.N, dtype=torch.float64))
at_zero = loss().item()
print(f"\nloss at zero: measured {at_zero:.6f}, exact {math.log(2):.6f}")
assert abs(at_zero - math.log(2)) < 1e-12

# %%
record = database.to_dataset()
panel = look_up(record.attrs["probe"]).panels(record)[0]
figure, axes = plt.subplots(figsize=(6, 4.5))
panel(record, axes)

# %% [markdown]
# Every line is a minimum and ends at its loss; two lines meet at the loss below which their
# minima are not connected. The spectrum of each minimum is in the record too; the check below
# says that it is one: no negative eigenvalue.

# %%
lowest = torch.as_tensor(database.minima.spectrum).min().item()
print(f"smallest eigenvalue of all minima: {lowest:.1e}")
assert lowest > -1e-6

# %% [markdown]
# `python -m lightning_landscape explore --config configs/xor/landscape.yaml` does the same with
# more searches, resumably.
