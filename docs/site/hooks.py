"""Makes the pages of the site that are not written by hand: the gallery and the tutorials.

MkDocs calls `on_files`. The pages are made from docs/gallery, which `gallery.py` has filled, and
from build/tutorials, which `tutorials.py` has. Only the standard library and YAML are needed.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "docs" / "gallery"
TUTORIALS, OUTPUT = ROOT / "examples" / "tutorials", ROOT / "build" / "tutorials"
sys.path.insert(0, str(ROOT))
from lightning_landscape.cli.configurations.catalogue import Configuration, catalogue  # noqa: E402

_FOLDERS = {
    "pspin": "Spherical glasses",
    "digits": "Networks on the 8×8 digits",
    "random": "Networks on random data",
    "compare": "Glass and network, Langevin and SGD",
    "diagnosis": "Diagnosis of a training",
    "perceptron": "The perceptron",
    "effective_theory": "Networks of finite width and depth",
    "clusters": "Atomic clusters",
    "surfaces": "Surfaces",
    "xor": "XOR",
    "papers": "Papers",
}


# pages


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and the figures of the tutorials."""
    from mkdocs.structure.files import File

    known = catalogue()
    pages = {"gallery/index.md": gallery_index(known)}
    pages |= {f"gallery/{each.name}.md": gallery_page(each) for each in known}
    for script in sorted(TUTORIALS.glob("*.py")):
        pages[f"tutorials/{script.stem}.md"] = tutorial_page(script)
        for figure in sorted((OUTPUT / script.stem).glob("*.png")):
            name = f"tutorials/{script.stem}/{figure.name}"
            files.append(File.generated(config, name, abs_src_path=str(figure)))
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


# gallery


def gallery_index(known: list[Configuration]) -> str:
    """Return the page that lists all configurations by question."""
    lines = [
        "# Gallery",
        "",
        "Every configuration that comes with the package: its question, and what a run of it gave. "
        "The figures and tables of a page were kept by the command that ran it "
        "(`python docs/site/gallery.py NAME`); *not run here* is said where none is kept. The same "
        "list in a terminal, and a copy of one to edit:",
        "",
        "```bash",
        "python -m lightning_landscape configs",
        "python -m lightning_landscape configs pspin/aging --copy mine.yaml",
        "```",
        "",
    ]
    folders = dict.fromkeys([*_FOLDERS, *(each.name.split("/")[0] for each in known)])
    for folder in folders:
        of_folder = [each for each in known if each.name.split("/")[0] == folder]
        if not of_folder:
            continue
        lines += [f"## {_FOLDERS.get(folder, folder)}", ""]
        lines += ["| question | configuration | run time |", "|---|---|---|"]
        for each in of_folder:
            kept = (GALLERY / each.name / "run.json").is_file()
            ran = _cell(each.run_time.split(";")[0]).rstrip(".") if kept else "*not run here*"
            link = f"[`{each.name}`]({each.name}.md)"
            lines.append(f"| {_cell(each.question)} | {link} | {ran} |")
        lines.append("")
    return "\n".join(lines)


def gallery_page(each: Configuration) -> str:
    """Return the page of one configuration, with what its last run has left."""
    home = GALLERY / each.name
    above = "../" * each.name.count("/")
    lines = [f"# {each.name}", "", f"**{_sentence(each.question)}**", ""]
    lines += ["```bash", each.command, "```", ""]
    if (home / "run.json").is_file():
        for figure in sorted(home.glob("*.png")):
            path = f"{each.name.rpartition('/')[2]}/{figure.name}"
            lines += [f"[![{figure.stem.replace('_', ' ')}]({path})]({path})", ""]
        facts = json.loads((home / "run.json").read_text(encoding="utf-8"))
        lines += _of_run(facts, each)
    else:
        lines += ["*Not run here.*", ""]
    lines += ["## Expected", "", _plain(each.expected), ""]
    lines += [f"Run time: {_plain(each.run_time)}", "", f"Reference: {_plain(each.reference)}", ""]
    lines += ["## Configuration", "", "```yaml", _without_head(each.path.read_text()), "```", ""]
    lines += [f"[All configurations]({above}index.md)", ""]
    return "\n".join(lines)


def _of_run(facts: dict[str, Any], each: Configuration) -> list[str]:
    lines = [f"Run with version {facts['version']} in {facts['cpu_seconds']} s of CPU time.", ""]
    if facts["checksum"] != checksum(each.path):
        lines += ["!!! warning", "    The configuration has changed since this run.", ""]
    return [*lines, _as_markdown(facts["results"]), ""]


def checksum(path: Path) -> str:
    """Return a checksum of what a configuration says; comments and layout do not count."""
    return checksum_of_text(json.dumps(yaml.safe_load(path.read_text()), sort_keys=True))


def checksum_of_text(text: str) -> str:
    """Return the first digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_head(text: str) -> str:
    return re.sub(r"\A(#[^\n]*\n)+", "", text).rstrip()


def _as_markdown(printed: str) -> str:
    """Return what a terminal shows as Markdown: bars inside of cells escaped, lists set off."""
    lines = [
        line if line.startswith("|-") else re.sub(r"(?<=\S)\|(?=\S)", r"\\|", line)
        for line in printed.splitlines()
    ]
    return re.sub(r":\n- ", ":\n\n- ", "\n".join(lines))


def _plain(text: str) -> str:
    """Return a text from a comment as Markdown that shows it as it is."""
    return re.sub(r"([*_|<\[\]^~\\])", r"\\\1", text)


def _sentence(text: str) -> str:
    return _plain(text[:1].upper() + text[1:])


def _cell(text: str) -> str:
    return _sentence(text).replace("\n", " ")


# tutorials


@dataclass(frozen=True)
class Cell:
    """A cell of a script in percent format: text in Markdown, or code."""

    is_text: bool
    text: str


def cells(script: str) -> list[Cell]:
    r"""Return the cells of a script.

    >>> [cell.text for cell in cells("# %% [markdown]\n# # Title\n# %%\nx = 1\n")]
    ['# Title', 'x = 1']
    """
    found = []
    for part in re.split(r"^# %%", script, flags=re.M)[1:]:
        first, _, body = part.partition("\n")
        is_text = "[markdown]" in first
        if is_text:
            body = re.sub(r"^# ?", "", body, flags=re.M)
        found.append(Cell(is_text, body.strip()))
    return found


def tutorial_page(script: Path) -> str:
    """Return the page of a tutorial: its text, its code, and what the code printed and drew.

    Raises:
        SystemExit: the tutorial has not been run since it was last changed.
    """
    text = script.read_text(encoding="utf-8")
    home = OUTPUT / script.stem
    facts = json.loads((home / "output.json").read_text()) if home.is_dir() else {}
    if facts.get("checksum") != checksum_of_text(text):
        raise SystemExit(f"{script.name} has not been run: python docs/site/tutorials.py first")
    lines = []
    for k, cell in enumerate(cells(text)):
        if cell.is_text:
            lines += [cell.text, ""]
            continue
        lines += ["```python", cell.text, "```", ""]
        if printed := facts["printed"][str(k)].rstrip():
            is_table = any(line.startswith("|") for line in printed.splitlines())
            lines += [_as_markdown(printed), ""] if is_table else ["```text", printed, "```", ""]
        for figure in sorted(home.glob(f"{k}_*.png")):
            lines += [f"![figure]({script.stem}/{figure.name})", ""]
    seconds = f"{facts['seconds']:.0f} seconds on one core"
    source = f"`examples/tutorials/{script.name}`"
    return "\n".join([*lines, "---", "", f"Run by {source}, in {seconds}.", ""])
