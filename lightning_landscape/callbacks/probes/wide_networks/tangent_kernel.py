"""TangentKernel: the tangent kernel of the networks of a run, its motion and its alignment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.isolation import isolated
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.wide_networks._networks import network_energy
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import View
from lightning_landscape.energies.networks.architectures import FullyConnected
from lightning_landscape.errors import UsageError, require, require_whole
from lightning_landscape.observables.wide_networks import (
    fully_connected_tangent_kernels,
    kernel_alignment,
    kernel_motion,
    kernel_spectrum,
    tangent_kernels,
)

__all__ = ["OutputFn", "TangentKernel", "inputs_of"]

OutputFn = Callable[[Any, Any], Tensor]
"""``output_fn(pl_module, inputs)``: the outputs of a foreign module, (P, ...)."""


class TangentKernel(Probe):
    r"""Measure the tangent kernel Theta = J J^T on given inputs, at time 0 and on a log grid.

    J is the derivative of all outputs on the inputs with respect to all parameters. Measured are
    the motion |Theta - Theta_0| / |Theta_0| since time 0, of order L/n where training is that of a
    kernel and sigma is smooth; the alignment with the targets y, y . Theta y / (|Theta| |y|^2); the
    mean of the diagonal; and the eigenvalues, which are the rates at which gradient descent on the
    sum of squared errors fits.

    Energies are `NetworkEnergy`, or `WithL2`, `Copies` and `WithField` of it, on their first
    ``samples`` training samples. In a foreign project
    they are the first ``samples`` inputs of the batch at the first measurement, the outputs are
    those of the module in evaluation mode, and alignment is not measured.

    Cost of a measurement: of fully connected networks k backward passes of the samples, and k^2 P^2
    products a neuron; of others k P gradients, and memory for them.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        samples: P, how many inputs, at most.
        scaled: whether the weights of a layer count by 1 / fan-in, as in the neural tangent
            parametrisation; of fully connected networks only.
        output_fn: the outputs of a foreign module, ``output_fn(pl_module, inputs)``, where inputs
            are the first tensor of the batch; None calls the module with them.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: an argument is out of range, the energy has no data, or the outputs are no
            matrix of samples and outputs.

    Source: Jacot, Gabriel & Hongler 2018, arXiv:1806.07572.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **dict.fromkeys(("motion", "alignment", "diagonal"), ("t", "replica")),
        "eigenvalues": ("t", "replica", "eigenvalue"),
    }
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "motion": {"long_name": "|Theta - Theta_0| / |Theta_0|, Frobenius norm"},
        "alignment": {"long_name": "y . Theta y / (|Theta| |y|^2)"},
        "diagonal": {"long_name": "mean of the diagonal of Theta"},
        "eigenvalues": {"long_name": "of Theta, ascending"},
    }
    reference = "Jacot, Gabriel, Hongler 2018, arXiv:1806.07572"

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 3,
        samples: int = 20,
        scaled: bool = False,
        output_fn: OutputFn | None = None,
        **options: Any,
    ) -> None:
        require_whole("samples", samples)
        required = "must be a function of (pl_module, inputs), or None"
        require(output_fn is None or callable(output_fn), "output_fn", output_fn, required)
        super().__init__(Times.log(first, last, per_decade), None, **options)
        self.samples, self.scaled, self.output_fn = samples, scaled, output_fn

    def prepare(self, view: View) -> str:
        """Check the energy; the tables start with the first measurement."""
        self.results = {}
        energy = network_energy(view.landscape)
        if energy is None and view.landscape is not None:
            name = type(view.landscape).__name__
            raise UsageError(
                f"energy = {name}: TangentKernel measures networks on their training samples; use "
                "NetworkEnergy"
            )
        net = None if energy is None else energy.architecture
        structured = isinstance(net, FullyConnected)
        required = "is known for FullyConnected networks only"
        require(structured or not self.scaled, "scaled", self.scaled, required)
        return f"at most {len(self._steps)} tangent kernels of {self.samples} samples"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append what the kernel is at this time."""
        with view.measuring():
            kernel = self._kernel(view).double().cpu()
        start = self.results.setdefault("start", kernel)
        diagonal = kernel.flatten(3, 4).flatten(1, 2).diagonal(dim1=1, dim2=2)
        row = {
            "motion": kernel_motion(kernel, start),
            "diagonal": diagonal.mean(1),
            "eigenvalues": kernel_spectrum(kernel),
        }
        energy = network_energy(view.landscape)
        if energy is not None:
            targets = energy.targets[: self.samples].double().cpu()
            row["alignment"] = kernel_alignment(kernel, targets)
        self.append(view, row)
        return {name: row[name].mean().item() for name in row if name != "eigenvalues"}

    def _kernel(self, view: View) -> Tensor:
        energy = network_energy(view.landscape)
        if energy is None:
            return self._of_foreign(view)
        assert view.landscape is not None
        net, x = energy.architecture, energy.inputs[: self.samples]
        parameters = tuple(view.landscape.parameters())
        if isinstance(net, FullyConnected):
            weight_rate = 1.0 if self.scaled else net.widths[:-1]
            return fully_connected_tangent_kernels(net, x, 1.0, weight_rate, parameters)
        return tangent_kernels(net.outputs(parameters, x.unsqueeze(0)), parameters)

    def _of_foreign(self, view: View) -> Tensor:
        """Return the kernel on the inputs of the first measurement, which are kept."""
        kept = self.results.get("inputs")
        if kept is None:
            kept = inputs_of(view.batch)[: self.samples].detach().clone()
        module = view.system
        with isolated(module, kept.to(next(module.parameters()).device)) as x, torch.enable_grad():
            module.eval()
            outputs = self._outputs(module, x)
            kernel = tangent_kernels(outputs.reshape(1, len(x), -1), view.parameters())
        self.results["inputs"] = kept
        return kernel

    def _outputs(self, module: Any, x: Tensor) -> Tensor:
        remedy = "give an output_fn(pl_module, inputs)"
        try:
            outputs = module(x) if self.output_fn is None else self.output_fn(module, x)
        except NotImplementedError as error:
            required = "has no forward(inputs)"
            require(self.output_fn is not None, "module", type(module).__name__, required, remedy)
            raise error
        right = isinstance(outputs, Tensor) and outputs.dim() >= 1 and len(outputs) == len(x)
        shape = getattr(outputs, "shape", type(outputs).__name__)
        require(right, "outputs", shape, f"must be those of {len(x)} samples", remedy)
        return outputs


def inputs_of(batch: Any) -> Tensor:
    """Return the first tensor of a batch."""
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    inside = parts if isinstance(parts, list | tuple) else [batch]
    found = next(iter(inside), None)
    name = type(found).__name__
    require(isinstance(found, Tensor), "batch", name, "must begin with the tensor of the inputs")
    return found  # type: ignore[return-value]
