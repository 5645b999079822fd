"""Which trainings fit, diverge and generalize: the digits over step size, batch size and width.

    python examples/phase_diagram.py [figure.png]

Every step size is a replica, so that a row of the map is one run. Three bounds are drawn over it,
all of them from the initial networks alone:

- lr = 2 / lambda, with the highest eigenvalue lambda of the Hessian (edge of stability);
- lr = 2 / s_B, with the batch sharpness s_B = E[g_B . H_B g_B] / E|g_B|^2 of mini-batches: a step
  lowers the loss of its own batch on average below it (arXiv:2412.20553);
- B = tr Sigma / |grad E|^2, the noise scale (arXiv:1812.06162).
"""

import sys

import torch

from lightning_landscape.curvature import hessian_of
from lightning_landscape.curvature.lanczos import lanczos
from lightning_landscape.curvature.operators.kept_graph import HessianOperator
from lightning_landscape.data import Batches, Digits
from lightning_landscape.energies import FullyConnected, NetworkEnergy
from lightning_landscape.observables.gradient_noise import gradients_of

DIVERGED, OPEN, FITTED, GENERALIZES = range(4)
NAMES = "diverged", "does not fit", "fits", "fits and generalizes"
FITS, GAP = 0.05, 0.01  # of the training loss; of the best test accuracy


def training(lrs, batch_size, steps, width=32, seeds=2):
    """Train networks with each step size; return their states, (lr, seed), and the three bounds."""
    R = len(lrs) * seeds
    widths = [64, width, width, 10]
    net = FullyConnected(widths, "tanh", weight_variance=0.25, replicas=R, seed=1)
    # each step size starts from the same networks
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(p[:seeds].repeat(len(lrs), *[1] * (p.dim() - 1)))
    energy = NetworkEnergy(net, Digits(test_fraction=0.7), "squared")
    batches = Batches(batch_size, seed=1, replacement=True)
    found = bounds(energy, batches, seeds)
    parameters = list(net.parameters())
    rates = torch.tensor(lrs).repeat_interleave(seeds)
    before = energy().detach()
    for step in range(steps):
        rows = batches(step, energy.samples, R)
        gradient = torch.autograd.grad(energy(rows).sum(), parameters)
        with torch.no_grad():
            for p, g in zip(parameters, gradient, strict=True):
                p -= rates.view(-1, *[1] * (p.dim() - 1)) * g
    with torch.no_grad():
        loss, accuracy = energy(), energy.evaluate("test")["accuracy"]
    best = accuracy[loss < FITS].max() if (loss < FITS).any() else 2.0
    state = torch.full((R,), OPEN)
    state[loss < FITS] = FITTED
    state[(loss < FITS) & (accuracy > best - GAP)] = GENERALIZES
    state[~(loss < before)] = DIVERGED  # or not finite
    return state.view(len(lrs), seeds), found


def bounds(energy, batches, seeds):
    """Return 2 / lambda, 2 / s_B and the noise scale of the first networks."""
    highest = lanczos(hessian_of(energy), 1, "highest", tolerance=1e-2).eigenvalues[:seeds, 0]
    parameters = list(energy.parameters())
    top, bottom = [], []
    for step in range(20):
        rows = batches(10_000 + step, energy.samples, energy.replicas)
        H = HessianOperator(lambda rows=rows: energy(rows), parameters)
        g = H.gradient
        top.append((g * (H @ g)).sum(1)[:seeds])
        bottom.append(g.square().sum(1)[:seeds])
    sharpness = torch.stack(top).mean() / torch.stack(bottom).mean()
    moments = gradients_of(energy).moments()
    noise = moments.variance.sum(1) / moments.mean.square().sum(1)
    return 2 / highest.mean().item(), 2 / sharpness.item(), noise[:seeds].mean().item()


def longest(lrs, state):
    """Return the largest step size up to which no network has diverged; 0 where all have."""
    stable = (state != DIVERGED).all(1)
    return max([lr for k, lr in enumerate(lrs) if bool(stable[: k + 1].all())], default=0.0)


def maps(lrs, sizes, widths, steps=600):
    """Return the states over (B, lr) and over (width, lr), with their bounds; print them."""
    of_size = {B: training(lrs, B, steps) for B in sizes}
    of_width = {h: training(lrs, 32, steps, width=h) for h in widths}
    for name, found in (("B", of_size), ("width", of_width)):
        print(f"{name:>6}  largest stable lr   2/lambda   2/s_B   noise scale")
        for value, (state, (edge, batch, noise)) in found.items():
            last = longest(lrs, state)
            print(f"{value:6d}  {last:17.2g}   {edge:8.2g}  {batch:6.2g}   {noise:.0f}")
    return of_size, of_width


def draw(lrs, of_size, of_width, path):
    """Draw both maps with the bounds."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colors = "#b2182b", "#dddddd", "#92c5de", "#2166ac"
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, (name, found) in zip(
        figure.subplots(1, 2, sharey=True),
        (("batch size B", of_size), ("width, B = 32", of_width)),
        strict=True,
    ):
        values = list(found)
        states = torch.stack([state.median(1).values for state, _ in found.values()], dim=1)
        axes.pcolormesh(values, lrs, states, cmap=ListedColormap(colors), vmin=0, vmax=3)
        for k, style in enumerate(("k-", "k--")):
            label = ("2/λ at the start", "2/s_B at the start")[k]
            axes.plot(values, [bound[k] for _, bound in found.values()], style, label=label)
        if found is of_size:
            noise = next(iter(found.values()))[1][2]
            axes.axvline(noise, color="k", linestyle=":", label="noise scale at the start")
        axes.set(xscale="log", yscale="log", xlabel=name, ylim=(min(lrs), max(lrs)))
        axes.legend(loc="lower left", fontsize=8)
    figure.axes[0].set_ylabel("lr")
    patches = [Patch(color=c, label=n) for c, n in zip(colors, NAMES, strict=True)]
    figure.legend(handles=patches, loc="outside upper center", ncols=4)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    lrs = torch.logspace(-1.2, 0.4, 13).tolist()
    found = maps(lrs, sizes=(2, 8, 32, 128), widths=(4, 12, 32, 96))
    if len(sys.argv) > 1:
        draw(lrs, *found, sys.argv[1])
