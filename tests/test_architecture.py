"""The floors of the house: a room imports only from lower floors, and Lightning stays upstairs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_landscape

PACKAGE = Path(lightning_landscape.__file__).parent
FLOORS = {
    **dict.fromkeys(["errors", "philox", "rng", "clock", "sphere", "records", "netcdf"], 0),
    **dict.fromkeys(["activations", "memory", "mixture", "replicas", "parallel"], 0),
    **dict.fromkeys(["theory", "data"], 1),
    "energies": 2,
    "curvature": 3,
    **dict.fromkeys(["dynamics", "observables"], 4),
    **dict.fromkeys(["results", "exploration"], 5),
    **dict.fromkeys(["modules", "callbacks", "studies"], 6),
    **dict.fromkeys(["cli", "testing", "__main__"], 7),
}
# Rooms of one floor know each other only where it is said here.
NEIGHBOURS = {
    ("records", "errors"), ("records", "netcdf"), ("rng", "errors"), ("rng", "philox"), ("parallel", "errors"),
    ("clock", "errors"), ("sphere", "errors"), ("activations", "errors"), ("replicas", "errors"),
    ("memory", "errors"), ("mixture", "errors"),
    ("testing", "cli"), ("__main__", "cli"),
    ("observables", "dynamics"),  # an estimator that runs a sampler
}  # fmt: skip
LARGEST_FOLDER = 16


def modules():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports(path):
    """Yield every module that a file imports, at any depth."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module):
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if parts[0] == "lightning_landscape" and len(parts) > 1 else parts[0]


@pytest.mark.parametrize("path", [m for m in modules() if m != "__init__.py"])
def test_a_room_imports_only_from_lower_floors(path):
    here = room(path)
    for name in imports(path):
        if not name.startswith("lightning_landscape.") or room(name) not in FLOORS:
            continue
        there = room(name)
        allowed = here == there or FLOORS[there] < FLOORS[here] or (here, there) in NEIGHBOURS
        assert allowed, f"{path} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"


@pytest.mark.parametrize("path", modules())
def test_mathematics_is_free_of_lightning(path):
    if FLOORS.get(room(path), 0) < 6:
        packages = {name.split(".")[0] for name in imports(path)}
        assert not packages & {"pytorch_lightning", "lightning"}


@pytest.mark.parametrize("path", modules())
def test_theory_is_used_beside_measurements_only(path):
    if room(path) not in ("theory", "results", "studies", "exploration", "testing", "cli"):
        assert not [name for name in imports(path) if name.startswith("lightning_landscape.theory")]


@pytest.mark.parametrize("path", modules())
def test_an_underscored_file_is_private_to_its_folder(path):
    here = "lightning_landscape." + ".".join(path.split("/")[:-1])
    for name in imports(path):
        parts = name.split(".")
        private = [k for k, part in enumerate(parts) if part.startswith("_") and part[1:2] != "_"]
        if name.startswith("lightning_landscape.") and private:
            folder = ".".join(parts[: private[0]])
            assert here.rstrip(".").startswith(folder), f"{path} imports {name}"


@pytest.mark.parametrize("folder", sorted({path.rpartition("/")[0] for path in modules()}))
def test_a_folder_can_be_overlooked(folder):
    files = [path for path in modules() if path.rpartition("/")[0] == folder]
    assert len([path for path in files if not path.endswith("__init__.py")]) <= LARGEST_FOLDER


@pytest.mark.parametrize("path", modules())
def test_only_one_file_asks_for_ranks(path):
    asks = any(word in (PACKAGE / path).read_text() for word in ("torch.distributed", "all_reduce"))
    assert asks == (path == "parallel.py")


@pytest.mark.parametrize("path", modules())
def test_modules_stay_readable(path):
    assert len((PACKAGE / path).read_text().splitlines()) <= 400


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, lightning_landscape, lightning_landscape.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "pytorch_lightning", "xarray", "matplotlib"} & set(loaded)
