"""What a tangent kernel says of learning: its motion, its alignment with labels, its spectrum."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.arguments import checked
from lightning_landscape.errors import require

__all__ = ["kernel_alignment", "kernel_motion", "kernel_spectrum"]


@checked
def kernel_motion(kernel: Tensor, start: Tensor) -> Tensor:
    """Return |Theta - Theta_0| / |Theta_0| in the Frobenius norm, shape (R,).

    It is of order L/n in the neural tangent parametrisation where sigma is smooth, and 0 for a
    model that is linear in its parameters.

    Args:
        kernel: Theta, shape (R, ...).
        start: Theta_0, of the same shape.

    >>> kernel_motion(torch.tensor([[[3.0, 0.0], [0.0, 5.0]]]), torch.tensor([[[3.0, 0], [0, 4]]]))
    tensor([0.2000])
    """
    return (kernel - start).flatten(1).norm(dim=1) / start.flatten(1).norm(dim=1)


@checked
def kernel_alignment(kernel: Tensor, targets: Tensor) -> Tensor:
    """Return y . Theta y / (|Theta| |y|^2), shape (R,): 1 where Theta is a multiple of y y^T.

    Args:
        kernel: Theta, shape (R, k, P, k, P).
        targets: y, shape (P, k).

    Raises:
        UsageError: the shapes do not belong together.

    Source: Cristianini et al., NIPS 2001 (kernel-target alignment).

    >>> y = torch.tensor([[1.0], [-1.0]])
    >>> kernel_alignment((y @ y.T).view(1, 1, 2, 1, 2), y)
    tensor([1.])
    """
    k, P = kernel.shape[1:3]
    required = f"must be ({P}, {k}), as the kernel's inputs and outputs"
    require(tuple(targets.shape) == (P, k), "targets.shape", tuple(targets.shape), required)
    y = targets.T.flatten().to(kernel)
    square = kernel.flatten(3, 4).flatten(1, 2)
    return (square @ y) @ y / (square.flatten(1).norm(dim=1) * y.square().sum())


@checked
def kernel_spectrum(kernel: Tensor) -> Tensor:
    """Return the eigenvalues of Theta, as a matrix over k P outputs, ascending, shape (R, k P).

    In units of 1 / learning rate they are the rates at which gradient descent on the sum of
    squared errors fits the directions in the space of outputs.

    >>> kernel_spectrum(torch.tensor([[[[[2.0, 1.0]], [[1.0, 2.0]]]]]).view(1, 1, 2, 1, 2))
    tensor([[1., 3.]])
    """
    square = kernel.flatten(3, 4).flatten(1, 2).double()
    return torch.linalg.eigvalsh((square + square.mT) / 2).to(kernel.dtype)
