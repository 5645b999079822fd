from lightning_landscape.callbacks.temperature import TemperatureFluctuations
from lightning_landscape.testing.probe import ProbeContract


class TestContract(ProbeContract):
    def make(self):
        return TemperatureFluctuations(equilibration=0.3, last=1.5, measurements=3)
