"""What tells a probe from others, and a run of it from the one before: name, settings, state."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from lightning_landscape.callbacks.settings import changes, fingerprint, fresh, settings_of
from lightning_landscape.errors import require

__all__ = ["Identity", "require_file_name"]

# attributes that say where a run is, and not what a probe was given
_NO_SETTINGS = frozenset({"results", "attributes", "measured_step", "seconds", "active", "strict"})


class Identity:
    """The part of a probe that knows its name, its settings and its state."""

    results: dict[str, Tensor]
    measured_step: int
    _name: str | None
    _number: int
    _settings: dict[str, str]
    _pristine: dict[str, Any]
    _changed: str

    @property
    def name(self) -> str:
        """The name that was given, or the class name in lower case with underscores.

        Where a Trainer has several of one name, the second is ``name_2``, in the order of its
        callbacks.
        """
        return self._stem if self._number == 1 else f"{self._stem}_{self._number}"

    @property
    def _stem(self) -> str:
        return self._name or re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def settings(self) -> dict[str, str]:
        """What the probe was made with, in words, as far as it is plain."""
        if not self._settings:
            self._settings = settings_of(vars(self), _NO_SETTINGS)
        return self._settings

    @property
    def state_key(self) -> str:
        """Where its state is in a checkpoint: by its name, or else by its settings."""
        return f"{type(self).__qualname__}[{self._name or fingerprint(self.settings)}]"

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Forget an earlier run, unless this Trainer goes on with it."""
        if stage != "fit":
            return
        _ = self.settings  # as they are before a run
        if not self._pristine:
            self._pristine = fresh(vars(self))
        elif trainer.global_step == 0:
            pristine = self._pristine
            vars(self).clear()
            vars(self).update(fresh(pristine), _pristine=pristine)

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Look for the state of a probe of this class and name that had other settings."""
        states, kind = checkpoint.get("callbacks", {}), f"{type(self).__qualname__}["
        if self.state_key in states:
            return
        taken = {callback.state_key for callback in trainer.callbacks}
        for key in states:
            if str(key).startswith(kind) and key not in taken and states[key]["name"] == self._name:
                self._changed = changes(states[key]["settings"], self.settings)
                return

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact resume needs."""
        known = {"settings": self.settings, "name": self._name}
        return {"results": self.results, "measured_step": self.measured_step, **known}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict``, if it is that of a probe with the same settings."""
        self._changed = changes(state_dict["settings"], self.settings)
        if not self._changed:
            self.results = state_dict["results"]
            self.measured_step = state_dict["measured_step"]


def require_file_name(name: str | None) -> None:
    """Raise a `UsageError` where a name is not one of a file."""
    right = name is None or re.fullmatch(r"[\w.-]+", name) is not None
    require(right, "name", name, "must consist of letters, digits, and . _ -")
