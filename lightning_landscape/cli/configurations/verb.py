"""The verb configs: the configurations that come with the package, and a copy of one to edit."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import textwrap
from pathlib import Path

from lightning_landscape.cli.configurations.catalogue import Configuration, catalogue
from lightning_landscape.errors import UsageError, nearest, require

__all__ = ["main"]

_EXAMPLES = """\
  configs                                   all of them, by folder
  configs glass response                    those that name both words
  configs --minutes 1                       those that take a minute or less
  configs pspin/aging                       what one of them asks, expects and takes
  configs pspin/aging --copy mine.yaml      copy it, to edit
  configs --schema > landscape.schema.json  for editors that complete and check YAML
"""


def main(args: list[str]) -> int:
    """List configurations, describe one, or copy it."""
    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape configs",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("words", nargs="*", help="a name, or words that have to occur")
    parser.add_argument("--minutes", type=float, default=math.inf, help="the longest run time")
    parser.add_argument("--copy", type=Path, metavar="FILE", help="write the one named to FILE")
    parser.add_argument("--schema", action="store_true", help="print a JSON schema for editors")
    options = parser.parse_args(args[1:])
    if options.schema:
        from lightning_landscape.cli.configurations.keys import schema_of_configurations

        print(json.dumps(schema_of_configurations(), indent=1, ensure_ascii=False))
        return 0
    known = catalogue()
    named = _named(known, options.words)
    if options.copy is not None:
        print(_copy(named, known, options))
    elif named is not None:
        print(_described(named))
    else:
        print(_listed(_chosen(known, options.words, options.minutes)))
    return 0


def _named(known: list[Configuration], words: list[str]) -> Configuration | None:
    """Return the one whose name is given, also as ``configs/pspin/aging.yaml``."""
    if len(words) != 1:
        return None
    name = words[0].removeprefix("configs/").removesuffix(".yaml")
    return next((each for each in known if each.name == name), None)


def _chosen(known: list[Configuration], words: list[str], minutes: float) -> list[Configuration]:
    wanted = [word.lower() for word in words]
    chosen = [
        each
        for each in known
        if each.seconds <= 60 * minutes
        and all(word in f"{each.name} {each.question} {each.expected}".lower() for word in wanted)
    ]
    if not chosen:
        close = nearest(" ".join(words), [each.name for each in known])
        raise UsageError(f"configs {' '.join(words)}: no configuration names this{close}")
    return chosen


def _copy(named: Configuration | None, known: list[Configuration], options: object) -> str:
    words, target = vars(options)["words"], vars(options)["copy"]
    if named is None:
        close = nearest(" ".join(words), [each.name for each in known])
        raise UsageError(f"configs {' '.join(words)}: --copy needs the name of one{close}")
    require(not target.exists(), "copy", target, "exists", "choose another name, or remove it")
    require(target.parent.is_dir(), "copy", target, "there is no such folder", "make it first")
    shutil.copyfile(named.path, target)
    return f"{target}\n\n  python -m lightning_landscape {named.verb} --config {target}"


def _described(each: Configuration) -> str:
    fields = {
        "question": each.question,
        "expected": each.expected,
        "run time": each.run_time,
        "reference": each.reference,
    }
    texts = [_hanging(f"{name:<11}", text) for name, text in fields.items() if text]
    return "\n".join([each.name, *texts, "", f"  {each.command}"])


def _listed(chosen: list[Configuration]) -> str:
    """Return a line or two for each, its name, run time and question, in groups by folder."""
    names = max(len(each.name) for each in chosen)
    times = [_duration(each.seconds) for each in chosen]
    lines, group = [], ""
    for each, time in zip(chosen, times, strict=True):
        if (here := each.name.rpartition("/")[0]) != group:
            lines += [""] * bool(group)
            group = here
        lines.append(_hanging(f"{each.name:<{names}}  {time:>7}  ", each.question))
    count = f"{len(chosen)} configuration" + "s" * (len(chosen) != 1)
    lines += ["", f"{count}, with the run times that they give. To see, run or edit one:", ""]
    first = chosen[0]
    lines += [f"  python -m lightning_landscape configs {first.name}", f"  {first.command}"]
    lines.append(f"  python -m lightning_landscape configs {first.name} --copy mine.yaml")
    return "\n".join(lines)


def _hanging(start: str, text: str) -> str:
    width = min(shutil.get_terminal_size((110, 24)).columns, 140)
    return textwrap.fill(
        text, max(width, len(start) + 30), initial_indent=start, subsequent_indent=" " * len(start)
    )


def _duration(seconds: float) -> str:
    """Return a duration as text.

    >>> _duration(30.0), _duration(150.0), _duration(2700.0), _duration(math.inf)
    ('30 s', '2.5 min', '45 min', 'hours')
    """
    if math.isinf(seconds):
        return "hours"
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.2g} min"
