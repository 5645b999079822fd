"""The command line: a table of verbs, each imported only when it is used."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

from lightning_landscape import __version__
from lightning_landscape.cli import VERBS
from lightning_landscape.cli.interrupts import Interrupted, raised
from lightning_landscape.cli.refusals import RankLost, usage_error_in
from lightning_landscape.errors import UsageError, nearest

__all__ = ["main"]


def usage() -> str:
    """Return the table of verbs."""
    rows = "\n".join(f"  {verb:<12}{what}" for verb, (_, what) in VERBS.items())
    return (
        f"lightning_landscape {__version__}: the physics of loss landscapes\n\n"
        f"usage: python -m lightning_landscape VERB …\n\n{rows}\n\n"
        "python -m lightning_landscape VERB --help describes each verb. To begin, a glass that "
        "ages, against\nits exact solution, in two minutes:\n\n"
        "  python -m lightning_landscape fit --config configs/pspin/aging.yaml"
    )


def main(args: list[str] | None = None) -> int:
    """Run a verb; return the exit status.

    It is 0, or 2 after a sentence that says what was wrong, or 1 after the loss of another process
    of the run, or 128 + signal after a signal that asks a process to end: 130 after Ctrl-C, 143
    after SIGTERM.
    """
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0
    if args[0] == "--version":
        print(__version__)
        return 0
    try:
        if args[0] not in VERBS:
            raise UsageError(
                f"{args[0]} is not a verb{nearest(args[0], VERBS)}; verbs: {', '.join(VERBS)}"
            )
        with raised():
            return import_module(VERBS[args[0]][0]).main(args)
    except ValueError as error:
        sentence = usage_error_in(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # what reads the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RankLost as error:
        print(f"error: {error}", file=sys.stderr)
        return error.status
    except (Interrupted, KeyboardInterrupt) as interrupt:
        ended = interrupt if isinstance(interrupt, Interrupted) else Interrupted(signal.SIGINT)
        if os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0":
            print(ended, file=sys.stderr)
        return ended.status


if __name__ == "__main__":
    sys.exit(main())
