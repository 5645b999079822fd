"""SynonymInvariance: whether the layers of a network tell the synonyms of its data apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_landscape.callbacks.isolation import isolated
from lightning_landscape.callbacks.probe import Probe
from lightning_landscape.callbacks.probes.wide_networks.tangent_kernel import OutputFn
from lightning_landscape.callbacks.times import Times
from lightning_landscape.callbacks.view import View
from lightning_landscape.data.hierarchy import Grammar
from lightning_landscape.energies.networks.network import NetworkEnergy
from lightning_landscape.errors import UsageError, require, require_whole
from lightning_landscape.observables.synonym_invariance import synonym_sensitivity

__all__ = ["SynonymInvariance"]


class SynonymInvariance(Probe):
    """Measure how sensitive the layers are to the exchange of synonyms, on a log grid of times.

    For samples of a random hierarchy model, every production of one level is exchanged for a
    synonym. Measured is how far the preactivations of each layer move, squared, relative to the
    distance of two samples: 0 where a layer ignores the exchange, about 1 where the exchanged
    sample is just another one; see `observables.synonym_sensitivity`. In a network that has learned
    the hierarchy, with some times P* = n_c m^L samples, the layers beyond the l-th ignore the
    synonyms of level l.

    Energies are `NetworkEnergy` on a `RandomHierarchy` with the same numbers and seed; the samples
    are among those held out. Where the architecture does not tell its layers, and in a foreign
    project, the outputs are the only layer.

    Cost of a measurement: L + 1 forward passes of the samples.

    Args:
        first: first time > 0 after time 0 (the step size times the number of steps; in a foreign
            project the number of steps).
        last: last time; later ones are not measured.
        per_decade: points in a factor of ten.
        samples: P, how many.
        v: symbols of the data; for this and the next ones see `data.RandomHierarchy`.
        m: synonyms, at least 2.
        L: levels.
        s: branching.
        n_c: classes.
        seed: of the rules.
        output_fn: the outputs of a foreign module, ``output_fn(pl_module, x)``, for samples x of
            shape (P, d, v); None calls the module with them.
        options: ``name`` and ``strict``, see `Probe`.

    Raises:
        UsageError: an argument is out of range, or the energy is of other data.

    Source: Cagnetta et al. 2024, arXiv:2307.02129, section 4.
    """

    dims: ClassVar[dict[str, tuple[str, ...]]] = {"sensitivity": ("t", "layer", "level", "replica")}
    variable_attributes: ClassVar[dict[str, dict[str, str]]] = {
        "sensitivity": {"long_name": "<|z(x) - z(x~)|^2> / <|z(x) - z(x')|^2>"}
    }
    reference = "Cagnetta et al. 2024, arXiv:2307.02129"

    def __init__(
        self,
        first: float = 1,
        last: float = 1_000_000,
        per_decade: int = 5,
        samples: int = 512,
        v: int = 8,
        m: int = 4,
        L: int = 3,
        s: int = 2,
        n_c: int = 8,
        seed: int = 0,
        output_fn: OutputFn | None = None,
        **options: Any,
    ) -> None:
        require_whole("samples", samples, least=2)
        require_whole("m", m, least=2)
        required = "must be a function of (pl_module, inputs), or None"
        require(output_fn is None or callable(output_fn), "output_fn", output_fn, required)
        super().__init__(Times.log(first, last, per_decade), None, **options)
        self.grammar, self.output_fn = Grammar(v, m, L, s, n_c, seed), output_fn
        most = f"must be at most {self.grammar.size}, all there are"
        require(samples <= self.grammar.size, "samples", samples, most)
        self.samples = samples

    def prepare(self, view: View) -> str:
        """Check the energy; the table starts with the first measurement."""
        self.results = {}
        energy = view.landscape
        if energy is not None:
            shape = (self.grammar.leaves, self.grammar.v)
            inputs = energy.inputs if isinstance(energy, NetworkEnergy) else torch.empty(1)
            remedy = "use NetworkEnergy on a RandomHierarchy with the same v, s and L"
            found = tuple(inputs.shape[1:])
            require(found == shape, "shape of a sample", found, f"must be {shape}", remedy)
        passes = len(self._steps) * (self.grammar.L + 1)
        return f"at most {passes} forward passes of {self.samples} samples"

    def measure(self, view: View, due: list[int]) -> dict[str, float]:
        """Append the sensitivities at this time."""

        def layers(x: Tensor) -> Sequence[Tensor]:
            return self._layers(view, x)

        with view.measuring(), torch.no_grad():
            derivations = self.grammar.held_out(self.samples)
            found = synonym_sensitivity(layers, self.grammar, derivations).double().cpu()
        self.append(view, {"sensitivity": found})
        outputs = found[-1].mean(-1).tolist()
        return {f"level {level + 1}": value for level, value in enumerate(outputs)}

    def _layers(self, view: View, x: Tensor) -> Sequence[Tensor]:
        """Return the preactivations of the layers, (R, F, P) each."""
        energy = view.landscape
        if not isinstance(energy, NetworkEnergy):
            return [self._of_foreign(view, x)]
        net, x = energy.architecture, x.to(energy.inputs).unsqueeze(0)
        tells = getattr(net, "preactivations", None)
        if tells is None:
            return [net(x).transpose(1, 2)]
        layers: Sequence[Tensor] = tells(tuple(net.parameters()), x)
        return layers

    def _of_foreign(self, view: View, x: Tensor) -> Tensor:
        module = view.system
        with isolated(module, x.to(next(module.parameters()))) as inputs:
            module.eval()
            outputs = module(inputs) if self.output_fn is None else self.output_fn(module, inputs)
        shape = getattr(outputs, "shape", None)
        if shape is None or len(outputs) != len(x):
            raise UsageError(
                f"outputs = {shape or type(outputs).__name__}: must be those of {len(x)} samples; "
                "give an output_fn(pl_module, inputs)"
            )
        return outputs.reshape(1, len(x), -1).transpose(1, 2)
