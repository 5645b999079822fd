"""The exclusive or of two bits."""

from __future__ import annotations

import torch

from lightning_landscape.data.labelled_data import LabelledData

__all__ = ["XOR"]


class XOR(LabelledData):
    """Four samples (0, 0), (0, 1), (1, 0), (1, 1) of the classes 0, 1, 1, 0; none is held out.

    The smallest task that no linear classifier solves. Testing is on the training samples.

    >>> XOR().targets
    tensor([0, 1, 1, 0])
    """

    def __init__(self) -> None:
        x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        y = torch.tensor([0, 1, 1, 0])
        super().__init__(x, y, x, y, classes=2)
