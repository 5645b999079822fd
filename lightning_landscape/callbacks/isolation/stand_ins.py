"""What stands in, during an evaluation, for things that give each item only once."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from lightning_landscape.callbacks.isolation._parameters import Moving
from lightning_landscape.errors import UsageError

__all__ = [
    "CannotRestore",
    "MovesParameters",
    "OnceOnly",
    "discarding",
    "in_memory",
    "of_pandas",
    "rebuilt",
]


class CannotRestore(UsageError):
    """An evaluation changes something that cannot be put back."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path}: is changed by an evaluation of the training step and cannot be restored; "
            'give the module a method energy(batch) and the probe loss_fn="energy", or give the '
            "probe a loss_fn(pl_module, batch) without side effects"
        )


class MovesParameters(UsageError):
    """An evaluation changes the parameters in which derivatives are wanted.

    Args:
        moved: those parameters.
    """

    def __init__(self, moved: list[Moving]) -> None:
        self.moved = moved
        several = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
        super().__init__(
            f"{moved[0].path}{several}: the training step itself moves parameters, so its loss "
            "is not at those whose derivatives are wanted; give the module a method "
            'energy(batch) and the probe loss_fn="energy", or give the probe a '
            "loss_fn(pl_module, batch) that leaves them alone"
        )


class OnceOnly(Iterator):
    """Stands for a generator or the iterator of a loader, and refuses to be asked.

    Args:
        path: where the module holds it.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise CannotRestore(self._path)

    __next__ = send = throw = close = _refuse

    def __getattr__(self, name: str) -> Any:
        self._refuse()


def rebuilt(x: Iterator[Any], visit: Callable[[Any], Any]) -> Iterator[Any] | None:
    """Return an iterator of the standard library anew, at the same place; None if it has no copy.

    >>> numbers = enumerate("abc")
    >>> _ = next(numbers)
    >>> list(rebuilt(numbers, lambda inner: rebuilt(inner, str))), list(numbers)
    ([(1, 'b'), (2, 'c')], [(1, 'b'), (2, 'c')])

    Args:
        x: the iterator, for example of a list, or ``zip``.
        visit: returns what stands for the things that it iterates over.
    """
    try:
        reduced: Any = x.__reduce__()
    except TypeError:
        return None
    make, arguments, *state = reduced
    new = make(*[visit(argument) for argument in arguments])
    if state and state[0] is not None:
        new.__setstate__(visit(state[0]))
    return new


def discarding(x: io.IOBase) -> io.IOBase:
    """Return a file that forgets, for one that is written to."""
    return io.StringIO() if isinstance(x, io.TextIOBase) else io.BytesIO()


def of_pandas(x: Any) -> Any:
    """Return a copy of a table of pandas, whose content only its own library can see.

    From pandas 3 on a shallow one is copied where it is written to.
    """
    return x.copy(deep=int(sys.modules["pandas"].__version__.partition(".")[0]) < 3)


def in_memory(x: io.StringIO | io.BytesIO) -> io.StringIO | io.BytesIO:
    """Return a copy of a file in memory, at the same place."""
    new = type(x)(x.getvalue())  # type: ignore[arg-type]
    new.seek(x.tell())
    return new
