"""The command line: a table of verbs, each imported only when it is used."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

from lightning_landscape import __version__
from lightning_landscape.cli.interrupts import Interrupted, raised
from lightning_landscape.cli.refusals import RankLost, usage_error_in
from lightning_landscape.errors import UsageError, nearest

__all__ = ["main"]

VERBS = {
    "fit": ("lightning_landscape.cli.fit", "run a configuration, or resume it where it stopped"),
    "validate": ("lightning_landscape.cli.fit", "evaluate a checkpoint on held-out data"),
    "test": ("lightning_landscape.cli.fit", "evaluate a checkpoint on held-out data, as a table"),
    "spectrum": ("lightning_landscape.cli.spectrum", "measure the Hessian of a finished run"),
    "surface": ("lightning_landscape.cli.surface", "draw the loss around and between checkpoints"),
    "sweep": ("lightning_landscape.cli.sweep", "run a configuration at many values of its options"),
    "study": ("lightning_landscape.cli.study", "compute a set of points and seeds, resumably"),
    "explore": ("lightning_landscape.cli.explore", "find minima and transition states, resumably"),
    "criticality": (
        "lightning_landscape.cli.criticality",
        "say whether signals and gradients keep their size",
    ),
    "diagnose": ("lightning_landscape.cli.diagnose", "say where a training stands, and why"),
    "jamming": ("lightning_landscape.cli.jamming", "find when networks no longer fit their data"),
    "compare": (
        "lightning_landscape.cli.report.compare",
        "run configurations, and say in which quantities they agree",
    ),
    "report": ("lightning_landscape.cli.report", "compare runs in one HTML page"),
    "configs": (
        "lightning_landscape.cli.configurations.verb",
        "list configurations by question and run time, or copy one",
    ),
    "completion": (
        "lightning_landscape.cli.configurations.completion",
        "print a script by which bash completes verbs and options",
    ),
}


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
