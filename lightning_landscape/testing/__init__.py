"""Contracts as pytest classes: anyone's energy, dynamics or probe proves itself with five lines.

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
    # imported when used: a test of an energy has no need of Lightning
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
