"""Contracts as pytest classes: test your own energy, dynamics, probe or operator in five lines.

```python
from lightning_landscape.testing import EnergyContract

class TestMyEnergy(EnergyContract):
    def make(self, replicas=3, dtype="float64"):
        return MyEnergy(replicas=replicas, dtype=dtype)
```
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "DynamicsContract": "dynamics",
    "EnergyContract": "energy",
    "LandscapeProbeContract": "probe",
    "OperatorCase": "operator",
    "OperatorContract": "operator",
    "ProbeContract": "probe",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # imported on first use: a test of an energy does not need Lightning
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
