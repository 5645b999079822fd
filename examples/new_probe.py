"""A probe with its figure, its table rows and its exact curve, from outside the package.

    python examples/new_probe.py

The probe measures; the result says what its record means, and is registered under the name of the
probe's class. From there on every run with the probe has the figure in TensorBoard and in
``figures/``, the rows in its closing table, and its place in ``report``, on the same axes as
other runs. A package of your own names this module in its pyproject.toml, so that ``report`` finds
it:

    [project.entry-points."lightning_landscape.results"]
    MeanSquare = "new_probe"
"""

import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytorch_lightning as pl

from lightning_landscape import LandscapeModule, Langevin, Probe, Quadratic
from lightning_landscape.callbacks.times import Times
from lightning_landscape.observables.statistics import mean_and_error
from lightning_landscape.results import Result, register, row, spread
from lightning_landscape.results.comparison import Chart, Curve, Frame
from lightning_landscape.results.summary import summarize


class MeanSquare(Probe):
    """Measure |x|^2 / N of each replica on a logarithmic grid of times."""

    dims: ClassVar = {"mean_square": ("t", "replica")}

    def __init__(self, first=0.1, last=10.0, per_decade=8):
        super().__init__(Times.log(first, last, per_decade))

    def prepare(self, view):
        self.start(view, "mean_square")
        return f"{len(self._steps)} sums over the parameters"

    def measure(self, view, due):
        value = view.configuration().double().square().mean(dim=1).cpu()
        self.append(view, {"mean_square": value})
        return {"mean_square": value.mean().item()}


@register("MeanSquare")
class MeanSquareResult(Result):
    """|x|^2 / N in time, exact for Langevin dynamics in E = |x|^2 / 2 from |x|^2 / N = 1."""

    def rows(self, dataset):
        for k in spread(dataset.sizes["t"], 4):
            at = dataset.isel(t=k)
            yield row(f"⟨x²⟩(t = {at['t']:.3g})", at["mean_square"], at.get("mean_square_exact"))

    def panels(self, dataset):
        return [draw]

    def exact(self, dataset):
        """Each step of length dt multiplies x by 1 - dt and adds noise of variance 2 T dt."""
        if dataset.attrs.get("energy") != "Quadratic":
            return dataset
        T, dt = dataset.attrs["temperature"], dataset.attrs["time_step"]
        stationary = T / (1 - dt / 2)
        left = (1 - dt) ** (2 * dataset["t"] / dt)
        return dataset.assign(mean_square_exact=stationary + (1 - stationary) * left)

    def charts(self, dataset, run):
        later = dataset.sel(t=dataset["t"] > 0)
        curve = Curve(later["t"], *mean_and_error(later["mean_square"]))
        return [Chart("mean square", Frame("t", r"$|x|^2 / N$"), [curve])]


def draw(dataset, axes):
    later = dataset.sel(t=dataset["t"] > 0)
    axes.plot(later["t"], later["mean_square"].mean("replica"), "o", label="measured")
    if "mean_square_exact" in later:
        axes.plot(later["t"], later["mean_square_exact"], color="black", label="exact")
    axes.set(xscale="log", xlabel="t", ylabel=r"$|x|^2 / N$")
    axes.legend()


def main(logs="logs", temperature=0.5, max_steps=200):
    """Run 64 replicas of 200 numbers from random starts; return the folder of the run."""
    energy = Quadratic(spectrum=[1.0] * 200, replicas=64)
    trainer = pl.Trainer(
        max_steps=max_steps,
        accelerator="cpu",
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=pl.loggers.TensorBoardLogger(logs, name="new_probe"),
        callbacks=[MeanSquare()],
    )
    dynamics = partial(Langevin, lr=0.05, temperature=temperature, seed=1)
    trainer.fit(LandscapeModule(energy, dynamics))
    return Path(trainer.log_dir)


if __name__ == "__main__":
    print(summarize(main(*sys.argv[1:])).full)
