"""Any `nn.Module` with a replica axis, by `torch.func`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_landscape.energies.networks.architectures import Architecture
from lightning_landscape.energies.networks.slices import even_slices
from lightning_landscape.errors import UsageError, require
from lightning_landscape.memory import require_memory
from lightning_landscape.rng import Stream

__all__ = ["Replicated"]

_CACHES = 2  # how much larger than the cache the activations of a block may be


class Replicated(Architecture):
    """R copies of one module, computed together, each with weights of its own.

    The copies are made by calling ``module`` R times, each time with torch's random state set to a
    function of (seed, replica) and restored afterwards. Parameters are stacked, replica axis
    first; buffers must not differ between the copies and stay as they are.

    Dropout is refused, because it makes the energy random. Batch normalisation makes the loss of a
    sample depend on others: it needs ``samples_together``, the number of samples that are
    normalised together (Hoffer, Hubara & Soudry 2017, arXiv:1705.08741, section 4), and
    ``track_running_stats=False``, because what is remembered of earlier weights has no place in a
    function of the present ones.

    On one core two small convolutions on batches of 16 images of 8 x 8 pixels gain a factor of two
    over one network after the other. Where the activations of a replica fill 1 MiB the replicas
    are computed in turn. The sizes alone decide that, and no timing, so that a run repeats
    bit for bit.

    Args:
        module: makes the network for one replica: (P, …) -> (P, k). In Python a class or function,
            in a configuration the module's own ``class_path`` and ``init_args``.
        replicas: R.
        seed: of the initial weights.
        samples_together: see `Architecture`; None for a module that takes each sample on its own.

    Raises:
        UsageError: the module drops out, has no parameters, normalises over the batch without
            saying how, or its copies do not fit into memory.

    >>> Replicated(lambda: nn.Linear(3, 2), replicas=5)(torch.zeros(1, 7, 3)).shape
    torch.Size([5, 7, 2])
    """

    block_samples = 128

    def __init__(
        self,
        module: Callable[[], nn.Module],
        replicas: int = 1,
        seed: int = 0,
        samples_together: int | None = None,
    ) -> None:
        super().__init__()
        require(replicas >= 1, "replicas", replicas, "must be at least 1")
        enough = samples_together is None or samples_together >= 2
        require(enough, "samples_together", samples_together, "must be at least 2")
        made = isinstance(module, nn.Module) or not callable(module)
        required, remedy = (
            "must be what makes a module for each replica",
            "write lambda: … around it",
        )
        require(not made, "module", type(module).__name__, required, remedy)
        self.replicas, self.samples_together = replicas, samples_together
        copies = _build(module, replicas, seed)
        first = copies[0]
        _refuse_layers(first, samples_together)
        self._names = [name for name, _ in first.named_parameters()]
        require(len(self._names) > 0, "module", type(first).__name__, "has no parameters")
        self.stacks = nn.ParameterList(
            torch.stack([each.get_parameter(name).detach() for each in copies])
            for name in self._names
        )
        self._buffer_names = [name for name, _ in first.named_buffers()]
        for k, name in enumerate(self._buffer_names):
            values = [each.get_buffer(name) for each in copies]
            same = all(torch.equal(value, values[0]) for value in values)
            require(same, "module", type(first).__name__, f"its copies differ in buffer {name}")
            self.register_buffer(f"buffer{k}", values[0])
        # only its structure: in a list, so that its weights are not taken for ours
        self._structure = [first.to("meta")]

    def replicas_at_once(self, each: int, cache: int) -> int:
        """Return 1 where a replica fills a quarter of it; smaller ones gain from larger operations.

        On a processor more of them go together than the cache holds.
        """
        if 4 * each > cache:
            return 1
        return (_CACHES if self.stacks[0].is_cpu else 1) * cache // each

    def outputs(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the outputs, shape (R, P, k), differentiable to any order."""
        groups = even_slices(x.shape[1], self.samples_together or x.shape[1])
        parts = [self._outputs(tuple(parameters), x[:, group]) for group in groups]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def _outputs(self, parameters: tuple[Tensor, ...], x: Tensor) -> Tensor:
        """Return the outputs for samples that may see each other."""
        P = x.shape[1]
        alone = self.samples_together is not None and P == 1
        require(not alone, "samples", P, "must be at least 2 to be normalised together")
        if len(parameters[0]) == 1:  # a fifth faster without vmap
            return self.of_one(tuple(p[0] for p in parameters), x[0]).unsqueeze(0)
        with sdpa_kernel(SDPBackend.MATH):  # the attention that vmap knows
            if len(x) == 1:
                return vmap(self.of_one, in_dims=(0, None))(parameters, x[0])
            return vmap(self.of_one)(parameters, x)

    def of_one(self, parameters: Sequence[Tensor], x: Tensor) -> Tensor:
        """Return the outputs of one replica, (P, k), for samples (P, …) and its parameters."""
        weights = dict(zip(self._names, parameters, strict=True))
        buffers = {name: getattr(self, f"buffer{k}") for k, name in enumerate(self._buffer_names)}
        return functional_call(self._structure[0], weights | buffers, (x,))

    @torch.no_grad()
    def copy_of(self, replica: int) -> nn.Module:
        """Return the module of a replica, with parameters and buffers of its own."""
        module = copy.deepcopy(self._structure[0]).to_empty(device=self.stacks[0].device)
        for name, stack in zip(self._names, self.stacks, strict=True):
            module.get_parameter(name).copy_(stack[replica])
        for k, name in enumerate(self._buffer_names):
            module.get_buffer(name).copy_(getattr(self, f"buffer{k}"))
        return module

    def output_size(self, sample_shape: Sequence[int]) -> int:
        """Return k for samples of this shape, found by trying two.

        Raises:
            UsageError: the module does not take such a sample, or returns no vector for it.
        """
        name, shape = type(self._structure[0]).__name__, tuple(sample_shape)
        try:
            outputs = self._try_two_samples(sample_shape)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"module = {name}: does not take samples of shape {shape}: {reason}"
            ) from error
        required = "must return (P, outputs) for P samples"
        require(outputs.ndim == 3, "module", name, required)
        return outputs.shape[-1]

    def values_per_sample(self, sample_shape: Sequence[int]) -> int:
        """Return how many numbers its innermost modules put out for one sample."""
        sizes = [0]
        innermost = [m for m in self._structure[0].modules() if not list(m.children())]
        hooks = [
            m.register_forward_hook(lambda m, x, output: sizes.append(output[0].numel()))
            for m in innermost
        ]
        self._try_two_samples(sample_shape)
        for hook in hooks:
            hook.remove()
        return sum(sizes)

    @torch.no_grad()
    def _try_two_samples(self, sample_shape: Sequence[int]) -> Tensor:
        first = [p[:1] for p in self.stacks]
        return self.outputs(first, first[0].new_zeros(1, 2, *sample_shape))


def _build(module: Callable[[], nn.Module], replicas: int, seed: int) -> list[nn.Module]:
    """Call ``module`` once for each replica, with the CPU's random state set and then restored."""
    stream, copies = Stream(seed, "initial module"), []
    with torch.random.fork_rng(devices=[]):
        for r in range(replicas):
            torch.default_generator.manual_seed(stream.key(r))
            copies.append(module())
            if r == 0:
                needed = 2 * replicas * sum(p.nbytes for p in copies[0].parameters())
                require_memory(needed, "replicas", replicas, "lower it, or the size of the module")
    return copies


def _refuse_layers(module: nn.Module, samples_together: int | None) -> None:
    for name, layer in module.named_modules():
        where = f"layer {name} = {type(layer).__name__}"
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            if samples_together is None:
                raise UsageError(
                    f"{where}: makes a sample's loss depend on its batch; give samples_together, "
                    "or use GroupNorm or LayerNorm"
                )
            if layer.track_running_stats:
                raise UsageError(
                    f"{where}: remembers statistics of earlier weights; "
                    "set track_running_stats=False"
                )
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise UsageError(f"{where}: makes the energy random; set p = 0 or remove it")
