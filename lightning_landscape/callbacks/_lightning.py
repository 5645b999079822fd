"""The one file that knows that Lightning comes as two packages.

`pytorch_lightning` and `lightning.pytorch` ship separate class objects; a Trainer or CLI of one
refuses some callbacks of the other. A class that derives from both is accepted everywhere.
"""

from __future__ import annotations

from pytorch_lightning import Callback as _Callback
from pytorch_lightning.loggers.logger import DummyLogger

__all__ = ["Callback", "DummyLogger"]

try:
    from lightning.pytorch import Callback as _UnifiedCallback
except ImportError:
    Callback = _Callback
else:

    class Callback(_Callback, _UnifiedCallback):  # type: ignore[no-redef,misc]
        """A callback for the Trainers of both packages."""
