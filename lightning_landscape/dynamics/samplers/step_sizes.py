"""Step sizes of replicas that the schedulers of torch may set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lightning_landscape.errors import UsageError

__all__ = ["schedulable"]


class _StepSizes(Tensor):
    """Step sizes of the replicas, (R,), that a scheduler of `torch.optim.lr_scheduler` may set.

    It sets a tensor by ``fill_``, which for plain tensors takes one number for all. A checkpoint
    holds it as a plain tensor.
    """

    # what is computed from it is a plain tensor
    __torch_function__: Any = torch._C._disabled_torch_function_impl

    def fill_(self, value: Any) -> _StepSizes:
        self.copy_(torch.as_tensor(value, dtype=self.dtype))
        return self

    def __float__(self) -> float:
        raise UsageError(
            f"lr = one for each of {len(self)} replicas: this scheduler needs a single step size; "
            "use one that scales the step sizes, such as StepLR or LambdaLR, or give one lr to all"
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> _StepSizes:
        return self.detach().clone().as_subclass(_StepSizes)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.as_subclass(Tensor).__reduce_ex__(protocol)


def schedulable(lr: Any) -> Any:
    """Return step sizes of replicas such that a scheduler may set them; a number as it is."""
    several = isinstance(lr, Tensor) and lr.dim() > 0
    return lr.as_subclass(_StepSizes) if several else lr
