"""Isolation of one evaluation: what it changes in a module or a batch is as before afterwards.

The evaluation runs on copies. Before it, every tensor that is reachable from the module and the
batch, except the trainable parameters, is replaced by a copy, and what the containers and objects
hold is noted; after it, they hold again what they held. The originals are never written to, so a
graph that the evaluation leaves behind stays valid.

Copies are copy-on-write: they cost about 10 microseconds a tensor and no memory until one of them
is written to, so memory grows by what the evaluation changes and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lightning_landscape.callbacks.isolation._guard import Guard
from lightning_landscape.callbacks.isolation._surroundings import protect_trainer
from lightning_landscape.callbacks.isolation.copies import keep, snapshot
from lightning_landscape.callbacks.isolation.stand_ins import CannotRestore, MovesParameters

__all__ = ["CannotRestore", "MovesParameters", "isolated", "keep", "snapshot"]


@contextmanager
def isolated(
    module: nn.Module,
    batch: Any = None,
    outputs: Sequence[Tensor] = (),
) -> Iterator[Any]:
    """Let the body evaluate ``module`` once on the batch that is yielded, and undo what it does.

    Restored are parameters and their ``.grad``, buffers, attributes of every submodule and of the
    objects that they hold, containers at any depth, states of metrics, class attributes, closures
    of methods and of functions that are attributes, the global variables that methods of the user's
    classes use, also in functions of the same package, generators of random numbers, iterators of
    the standard library, optimizers that the module steps by itself, data sets but for what is in
    their samples, files that are read, the batch, and of the trainer its attributes, callbacks of
    the user's, the settings of its optimizers and its schedulers. What is written to a file is
    discarded. Not seen: attributes of Python modules, and what other libraries send elsewhere.

    Args:
        module: the module that the body evaluates.
        batch: the batch; the body must use the one that is yielded.
        outputs: a list to which the body appends what it computes, where derivatives of that are
            wanted.

    Raises:
        CannotRestore: the body asks for an item of something that gives each only once, such as a
            Python generator or the iterator of a loader, which is then left alone; or a tensor
            that is also held elsewhere was changed. The sentence names the attribute.
        MovesParameters: gradients are on, and the body has moved a parameter of which the outputs
            are functions.
    """
    guard = Guard(module)
    try:
        protect_trainer(guard, module)
        guard.visit(module, type(module).__name__)
        yield guard.visit(batch, "batch")
    finally:
        guard.undo()
    guard.check(outputs)
