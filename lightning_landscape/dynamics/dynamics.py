"""What an optimizer says of the motion that it is: temperature, time step, rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.arguments import Checked, checked
from lightning_landscape.errors import require

__all__ = ["Dynamics", "checked_parameters", "dynamics_of", "require_own_state"]


class Dynamics(Checked):
    """An optimizer as a dynamics; the defaults are those of a descent by one time step per step.

    A scheme derives from it and from `torch.optim.Optimizer`, and overrides what differs.
    `dynamics_of` gives the same view of any other optimizer, such as `torch.optim.SGD`.
    """

    param_groups: list[dict[str, Any]]

    @property
    def time_step(self) -> float:
        """The physical time of a step: lr, or 1 where replicas or parameter groups differ in it."""
        rates = [_number(group["lr"]) for group in self.param_groups]
        return rates[0] if rates[0] is not None and len({*rates}) == 1 else 1.0

    @property
    def current_temperature(self) -> float | Tensor:
        """The temperature at the present time, a number or one per replica, (R,)."""
        return 0.0

    @property
    def temperature_is_constant(self) -> bool:
        """Whether the temperature is known never to change."""
        return True

    @property
    def needs_whole_energy(self) -> bool:
        """Whether the energies decide what happens, so that those of mini-batches are wrong."""
        return False

    @property
    def rates(self) -> dict[str, Tensor]:
        """What fraction of the decisions of each kind was positive so far, each (R,)."""
        return {}


class _Descent(Dynamics):
    """The defaults, for the parameter groups of an optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.param_groups = optimizer.param_groups


@checked
def dynamics_of(optimizer: Optimizer) -> Dynamics:
    """Return the optimizer if it is a `Dynamics`, else the defaults for its parameter groups.

    >>> import torch
    >>> dynamics = dynamics_of(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1))
    >>> dynamics.time_step, dynamics.current_temperature, dynamics.rates
    (0.1, 0.0, {})
    """
    return optimizer if isinstance(optimizer, Dynamics) else _Descent(optimizer)


def checked_parameters(params: Iterable[Any]) -> list[Any]:
    """Return the parameters, or groups of them, that an optimizer was given.

    Raises:
        UsageError: there is none, or one is no tensor of real or complex numbers.
    """
    several = isinstance(params, Iterable) and not isinstance(params, Tensor | Mapping | str)
    remedy = "give a list of tensors, such as energy.parameters()"
    require(several, "params", type(params).__name__, "must be an iterable of tensors", remedy)
    given = list(params)
    require(len(given) > 0, "params", "[]", "there is no parameter to move", remedy)
    for entry in given:
        if isinstance(entry, Tensor):
            number = entry.is_floating_point() or entry.is_complex()
            require(number, "params", entry.dtype, "must be floating-point tensors", remedy)
    return given


def require_own_state(optimizer: Optimizer, state_dict: Mapping[str, Any]) -> None:
    """Raise a `UsageError` if ``state_dict`` is that of another kind of optimizer."""
    name = type(optimizer).__name__
    remedy = f"load a state that {name}.state_dict() has returned"
    groups = state_dict.get("param_groups", []) if isinstance(state_dict, Mapping) else []
    required = "has no parameter groups"
    require(len(groups) > 0, "state_dict", type(state_dict).__name__, required, remedy)
    known = {*optimizer.param_groups[0], *optimizer.defaults, "initial_lr", "param_names"}
    unknown = sorted({key for group in groups for key in group} - known)
    required = f"belongs to another optimizer than {name}"
    require(not unknown, "state_dict", f"settings {', '.join(unknown)}", required, remedy)


def _number(lr: float | Tensor) -> float | None:
    """Return a step size that is one number; those of replicas are None."""
    return None if isinstance(lr, Tensor) and lr.dim() else float(lr)
