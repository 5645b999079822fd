"""The verb completion: a script by which bash completes verbs, options and names of classes."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from lightning_landscape.cli import VERBS
from lightning_landscape.cli.configurations.catalogue import catalogue

__all__ = ["main", "script"]

_DEPTH = 3  # classes inside of each other, as in energy, data, data
_SCRIPT = """\
# Completion of lightning-landscape in bash:
#   source <(lightning-landscape completion)
_lightning_landscape() {{
    local verb=${{COMP_WORDS[1]}} word=${{COMP_WORDS[COMP_CWORD]}}
    local option=${{COMP_WORDS[COMP_CWORD - 1]}} words=""
    if [[ $word == "=" ]]; then
        word=""
    elif [[ $option == "=" ]]; then
        option=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    if ((COMP_CWORD == 1)); then
        words="{verbs}"
    elif [[ $word == -* ]]; then
        case $verb in
{options}
        esac
    else
        case $option in
            configs) words="{configurations}" ;;
{values}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _lightning_landscape lightning-landscape
"""

Words = Mapping[str, Sequence[str]]


def main(args: list[str]) -> int:
    """Print the script; it holds what ``--help`` of each verb lists, and what a schema knows."""
    parser = argparse.ArgumentParser(
        prog="python -m lightning_landscape completion",
        description=__doc__,
        epilog="source <(lightning-landscape completion), here or in ~/.bashrc; zsh needs "
        "autoload -U bashcompinit && bashcompinit before it.",
    )
    parser.parse_args(args[1:])
    from lightning_landscape.cli.configurations.keys import schema_of_configurations

    modules = {verb: module for verb, (module, _) in VERBS.items() if verb != "completion"}
    options = {verb: options_in(_help(module, verb)) for verb, module in modules.items()}
    nested, values = _nested(options, schema_of_configurations())
    names = [each.name for each in catalogue()]
    values["--config"] = [f"configs/{name}.yaml" for name in names]
    print(script({**nested, "completion": ["--help"]}, values, names), end="")
    return 0


def script(options: Words, values: Words, configurations: Sequence[str]) -> str:
    """Return the script for bash.

    Args:
        options: of each verb.
        values: of each option whose values are known.
        configurations: the names that the verb configs knows.
    """
    return _SCRIPT.format(
        verbs=" ".join(options),
        options="\n".join(_case(verb, words) for verb, words in options.items()),
        values="\n".join(_case(option, words) for option, words in values.items()),
        configurations=" ".join(configurations),
    )


def _case(pattern: str, words: Sequence[str]) -> str:
    return f'            {pattern}) words="{" ".join(words)}" ;;'


def options_in(text: str) -> list[str]:
    r"""Return the options that a help text lists.

    >>> options_in("usage: x [--no]\n  -c FILE, --config FILE\n           as --this\n  --all  b")
    ['--config', '--all']
    """
    lines = (line.strip().split("  ")[0] for line in text.splitlines() if line[:5].strip())
    starts = [line for line in lines if line.startswith("-")]
    return [found for line in starts for found in re.findall(r"(?<![\w-])--[\w.]+", line)]


def _help(module: str, verb: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        import_module(module).main([verb, "--help"])
    return output.getvalue()


def _nested(options: Words, schema: dict[str, Any]) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """Return the options with those of the classes that they name, and the values of options."""
    found: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    for verb, of_verb in options.items():
        paths = dict.fromkeys(of_verb)
        for option in of_verb:
            node: Any = {"properties": schema["properties"]}
            for key in option.removeprefix("--").split("."):
                node = node.get("properties", {}).get(key, {})
            for path, known in _below(option, node, schema["$defs"], _DEPTH):
                paths[path] = None
                if known:
                    values[path] = known
        found[verb] = list(paths)
    return found, values


def _below(
    path: str, node: dict[str, Any], roots: dict[str, Any], depth: int
) -> Iterator[tuple[str, list[str]]]:
    """Yield an option and those of the classes it can name, each with its values if known."""
    root = _root(node)
    choice = roots[root] if root else {}
    named = choice["anyOf"][0]["anyOf"][0]["enum"] if choice else node.get("enum", [])
    yield path, [str(name) for name in named]
    if not choice or depth == 0:
        return
    arguments: dict[str, Any] = {}
    for branch in choice["anyOf"][1]["allOf"]:
        arguments |= branch["then"]["properties"]["init_args"]["properties"]
    for name, argument in arguments.items():
        yield from _below(f"{path}.{name}", argument, roots, depth - 1)


def _root(node: dict[str, Any]) -> str | None:
    """Return the name of the base class of the values of an option, or None."""
    options = [node, *node.get("anyOf", [])]
    found = (each["$ref"].rpartition("/")[2] for each in options if "$ref" in each)
    return next(found, None)
