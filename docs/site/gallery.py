"""Run configurations and keep what they give for the gallery of the documentation.

    python docs/site/gallery.py pspin/aging digits/aging

Each is run by the command that its page shows, in an empty folder. Its table, its figures, its run
time and a checksum of what was run are kept in docs/gallery/<name>/, and `hooks.py` makes the pages
from them. A page says so where its configuration has changed since.
"""

from __future__ import annotations

import io
import json
import os
import re
import resource
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path

from lightning_landscape import __version__
from lightning_landscape.__main__ import main as run
from lightning_landscape.cli.configurations.catalogue import Configuration, catalogue

GALLERY = Path(__file__).parents[1] / "gallery"
sys.path.insert(0, str(Path(__file__).parent))
from hooks import checksum  # noqa: E402

_WIDEST = 1400  # pixels


def main(names: list[str]) -> None:
    """Run each configuration, and keep it if it ends well."""
    known = {each.name: each for each in catalogue()}
    for name in names:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            keep(known[name], GALLERY / name)


def keep(each: Configuration, home: Path) -> None:
    """Run a configuration in this folder, and keep its table, figures and times in ``home``."""
    began, cpu = time.perf_counter(), _cpu_seconds()
    status = run(each.command.split()[3:])
    if status:
        raise SystemExit(f"{each.command}: ended with status {status}")
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": _cpu_seconds() - cpu}
    results = [path for path in Path("logs").rglob("results.md")]
    (folder,) = (path.parent for path in results if path.parent.name.startswith("version_"))
    home.mkdir(parents=True, exist_ok=True)
    for old in [*home.glob("*.png"), *home.glob("*.json")]:
        old.unlink()
    for figure in sorted((folder / "figures").glob("*.png")):
        (home / figure.name).write_bytes(_small(figure))
    facts = {
        "command": each.command,
        "checksum": checksum(each.path),
        "version": __version__,
        "processors": os.cpu_count(),
        **{name: round(value) for name, value in spent.items()},
        "results": _without_paths((folder / "results.md").read_text()),
    }
    (home / "run.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    print(f"kept {home}")


def _without_paths(results: str) -> str:
    """Return the table and its notes, without the lines that say where the files of the run are."""
    where = re.compile(r"(records|figures|TensorBoard|compare|all \d+ rows)  ")
    return "\n".join(line for line in results.splitlines() if not where.match(line)).strip()


def _small(figure: Path) -> bytes:
    """Return a figure in 64 colours, which is a quarter of its size and looks the same."""
    from PIL import Image

    image = Image.open(figure).convert("RGB")
    if image.width > _WIDEST:
        image = image.resize((_WIDEST, round(image.height * _WIDEST / image.width)))
    packed = io.BytesIO()
    image.quantize(64, dither=Image.Dither.NONE).save(packed, "png", optimize=True)
    return packed.getvalue()


def _cpu_seconds() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, who))


if __name__ == "__main__":
    main(sys.argv[1:])
