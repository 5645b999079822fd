"""What every probe inherits: it says what it has cost."""

import re
import time

import torch

from lightning_landscape.callbacks import EnergyRelaxation
from lightning_landscape.energies import Quadratic
from lightning_landscape.modules import LandscapeModule
from lightning_landscape.testing.probe import bare_trainer


class Slow(EnergyRelaxation):
    """20 ms a measurement, and 50 ms for the last word."""

    def measure(self, view, due):
        time.sleep(0.02)
        return super().measure(view, due)

    def write(self, trainer, final=False):
        time.sleep(0.05 if final else 0.0)
        super().write(trainer, final)


def test_the_time_of_a_probe_is_counted_once_and_said_at_the_end(tmp_path, caplog):
    module = LandscapeModule(Quadratic([1.0]), lambda p: torch.optim.SGD(p, lr=0.1))
    probe = Slow(first=0.1, last=1, per_decade=3)
    start = time.perf_counter()
    with caplog.at_level("INFO", logger="lightning_landscape"):
        bare_trainer([probe], 10, tmp_path).fit(module)
    whole = time.perf_counter() - start
    measurements = len(probe.results["step"])
    assert measurements == 5
    assert measurements * 0.02 + 0.05 < probe.seconds < whole
    said = re.search(r"slow: (\S+) s, (\S+) % of the run", caplog.text)
    assert abs(float(said[1]) - probe.seconds) < 0.01 * probe.seconds
    assert 100 * probe.seconds / whole - 1 < float(said[2]) <= 100
