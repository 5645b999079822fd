"""Which graph an energy should leave: the fastest gradient, or one to be differentiated again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["plain_graphs", "wants_plain_graph"]

_plain: ContextVar[bool] = ContextVar("plain graphs", default=False)


@contextmanager
def plain_graphs() -> Iterator[None]:
    """Let energies leave graphs of plain operations, for whoever differentiates twice.

    They may be differentiated twice anyway, but what makes the first gradient fast is then done in
    vain.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def wants_plain_graph() -> bool:
    """Whether this is evaluated inside of `plain_graphs`."""
    return _plain.get()
