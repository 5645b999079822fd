"""Run the tutorials, and keep what they print and draw for their pages.

    python docs/site/tutorials.py            all of them
    python docs/site/tutorials.py sgd        those whose names hold a word

A tutorial is a script in examples/tutorials in the percent format of Jupytext: a line ``# %%``
begins a cell of code, ``# %% [markdown]`` one of text. Their numbers are checked by assertions, so
that a tutorial whose law no longer holds fails here. The output is kept in build/tutorials, from
which `hooks.py` makes the pages.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parent))
from hooks import OUTPUT, TUTORIALS, cells, checksum_of_text


def main(words: list[str]) -> None:
    """Run each tutorial in this process, one after the other."""
    for script in sorted(TUTORIALS.glob("*.py")):
        if all(word in script.stem for word in words):
            seconds = run(script, OUTPUT / script.stem)
            print(f"{script.stem:<24}{seconds:6.0f} s of CPU time", flush=True)


def run(script: Path, home: Path) -> float:
    """Run the cells of a tutorial; keep the output of each, and its figures; return CPU seconds."""
    text = script.read_text(encoding="utf-8")
    home.mkdir(parents=True, exist_ok=True)
    for old in home.iterdir():
        old.unlink()
    namespace: dict[str, object] = {"__name__": script.stem}
    printed, began = {}, time.process_time()
    for k, cell in enumerate(cells(text)):
        if cell.is_text:
            continue
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(cell.text, str(script), "exec"), namespace)
        printed[k] = output.getvalue()
        for n, number in enumerate(plt.get_fignums()):
            plt.figure(number).savefig(home / f"{k}_{n}.png", dpi=110, bbox_inches="tight")
        plt.close("all")
    seconds = time.process_time() - began
    facts = {"checksum": checksum_of_text(text), "seconds": seconds, "printed": printed}
    (home / "output.json").write_text(json.dumps(facts, ensure_ascii=False))
    return seconds


if __name__ == "__main__":
    main(sys.argv[1:])
