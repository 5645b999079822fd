"""The floors of the house: a room imports only from lower floors, and Lightning stays upstairs."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import lightning_landscape

PACKAGE = Path(lightning_landscape.__file__).parent
FLOORS = {
    **dict.fromkeys(["errors", "philox", "rng", "clock", "sphere", "records", "netcdf"], 0),
    **dict.fromkeys(["activations", "arguments", "memory", "mixture", "replicas", "parallel"], 0),
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
    ("records", "errors"), ("records", "netcdf"), ("rng", "errors"), ("rng", "philox"),
    ("parallel", "errors"),
    ("clock", "errors"), ("sphere", "errors"), ("activations", "errors"), ("replicas", "errors"),
    ("memory", "errors"), ("mixture", "errors"), ("arguments", "errors"),
    ("testing", "cli"), ("__main__", "cli"),
    ("observables", "dynamics"),  # an estimator that runs a sampler
}  # fmt: skip
LARGEST_FOLDER = 16


TEXTS = {
    path.relative_to(PACKAGE).as_posix(): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))
}


def imported_by(text):
    """Yield every module that a file imports, at any depth."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


IMPORTS = {path: list(imported_by(text)) for path, text in TEXTS.items()}


def room(module):
    parts = module.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if parts[0] == "lightning_landscape" and len(parts) > 1 else parts[0]


def test_a_room_imports_only_from_lower_floors():
    wrong = []
    for path, names in IMPORTS.items():
        here = room(path)
        for name in names:
            there = room(name)
            if name.startswith("lightning_landscape.") and {here, there} <= FLOORS.keys():
                lower = here == there or FLOORS[there] < FLOORS[here]
                if not lower and (here, there) not in NEIGHBOURS:
                    wrong.append((path, FLOORS[here], name, FLOORS[there]))
    assert not wrong


def test_every_room_has_a_floor():
    assert {room(path) for path in TEXTS} - {"__init__"} == FLOORS.keys()


def test_mathematics_is_free_of_lightning():
    for path, names in IMPORTS.items():
        if FLOORS.get(room(path), 0) < 6:
            packages = {name.split(".")[0] for name in names}
            assert not packages & {"pytorch_lightning", "lightning"}, path


def test_theory_is_used_beside_measurements_only():
    users = {
        room(path)
        for path, names in IMPORTS.items()
        if any(name.startswith("lightning_landscape.theory") for name in names)
    }
    assert users <= {"theory", "results", "studies", "exploration", "testing", "cli"}


def test_an_underscored_file_is_private_to_its_folder():
    for path, names in IMPORTS.items():
        here = "lightning_landscape." + ".".join(path.split("/")[:-1])
        for name in names:
            parts = name.split(".")
            private = [k for k, x in enumerate(parts) if x.startswith("_") and x[1:2] != "_"]
            if name.startswith("lightning_landscape.") and private:
                folder = ".".join(parts[: private[0]])
                assert here.rstrip(".").startswith(folder), f"{path} imports {name}"


def test_a_folder_can_be_overlooked():
    files = [path for path in TEXTS if not path.endswith("__init__.py")]
    folders = Counter(path.rpartition("/")[0] for path in files)
    assert not {folder: n for folder, n in folders.items() if n > LARGEST_FOLDER}


def test_only_one_file_asks_for_ranks():
    asking = [
        path for path, text in TEXTS.items() if "torch.distributed" in text or "all_reduce" in text
    ]
    assert asking == ["parallel.py"]


def test_modules_stay_readable():
    assert not [path for path, text in TEXTS.items() if len(text.splitlines()) > 400]


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, lightning_landscape, lightning_landscape.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "pytorch_lightning", "xarray", "matplotlib"} & set(loaded)
