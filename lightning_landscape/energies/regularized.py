"""An energy with the penalty lambda |theta|^2 on all its parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.energies.energy import Energy, HasData, HasSymmetry
from lightning_landscape.errors import require
from lightning_landscape.replicas import flatten

__all__ = ["WithL2"]


class WithL2(Energy):
    """E(theta) + lambda |theta|^2, over all parameters, biases too.

    The penalty removes the flat directions of a network: those of separable data along which the
    loss sinks for ever, the common shift of softmax outputs and the scaling of ReLU units. Its
    second derivative is 2 lambda.

    Args:
        energy: R replicas; it becomes part of this one.
        strength: lambda >= 0, or one for each replica.

    Raises:
        UsageError: a negative strength, or a number of them other than R, or an energy on a sphere.

    Source: Ballard et al. 2017, arXiv:1703.07915, eq. (2).

    >>> from lightning_landscape.energies import Quadratic
    >>> energy = WithL2(Quadratic([1.0, 3.0], dtype="float64"), strength=0.5)
    >>> energy.load_configuration(torch.tensor([[1.0, 1.0]]))
    >>> energy().item()
    3.0
    """

    strengths: Tensor

    def __init__(self, energy: Energy, strength: float | Sequence[float]) -> None:
        super().__init__()
        values = torch.as_tensor(strength, dtype=torch.float64).flatten()
        R = energy.replicas
        require(bool((values >= 0).all()), "strength", strength, "must be at least 0")
        fits = len(values) in (1, R)
        require(fits, "strength", strength, f"must be one number, or {R}, one a replica")
        on_sphere = energy.constraint is not None
        remedy = "use the energy without a penalty"
        require(not on_sphere, "energy", type(energy).__name__, "has |x|^2 fixed", remedy)
        self.energy, self.replicas, self.samples = energy, R, energy.samples
        self.extensive = energy.extensive  # type: ignore[misc]
        number = next(energy.parameters()).dtype
        self.register_buffer("strengths", values.expand(R).to(number), persistent=False)
        if isinstance(energy, HasData):
            self.evaluate = energy.evaluate  # so that this is `HasData` too
        if isinstance(energy, HasSymmetry):  # exchanges and signs keep |theta|^2
            self.log_copies, self.symmetry_order = energy.log_copies, energy.symmetry_order

    def forward(self, batch: Tensor | None = None) -> Tensor:
        """Return the energies with the penalty, shape (R,)."""
        squares = flatten(self.energy.parameters()).square().sum(1)
        return self.energy(batch) + self.strengths * squares

    def only(self, replicas: Tensor) -> Energy:
        """Return an energy of some of the replicas, each with its own strength."""
        some = super().only(replicas)
        assert isinstance(some, WithL2)
        some.energy = self.energy.only(replicas)
        some.strengths = self.strengths[replicas.to(self.strengths.device)]
        if isinstance(some.energy, HasData):
            some.evaluate = some.energy.evaluate
        return some
