"""Imports go down the floors only, and the core floors import nothing but torch and numpy."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "perrin"

GROUND = ("errors", "contracts", "registry", "heap")
FLOORS = (  # from the ground up
    *GROUND,
    "metrics",
    "nets",
    "process",
    "denoise",
    "sample",
    "likelihood",
    "guide",
    "learn",
    "saving",
    "design",
    "fitted",
    "mixing",
    "windowed",
    "steering",
    "samples",
    "passages",
    "encoded_items",
    "densities",
    "restoration",
    "model",
    "conditions_in_turn",
    "fitting",
    "training",
    "kinds",
    "systems",
    "evaluate",
    "augmenting",
    "editing",
    "forecasting",
    "hub",
    "loading",
    "api",
    "series",
    "expanding",
    "restoring",
    "reproduction",
    "serve",
    "cli",
    "__main__",
)
HEIGHT = {room: floor for floor, room in enumerate(FLOORS)}

ALLOWED = {
    room: {"torch", "numpy"} for room in ("process", "denoise", "sample", "likelihood", "guide", "learn")
}
ALLOWED |= {"nets": {"torch", "numpy"}, "metrics": {"torch", "numpy", "scipy", "sklearn"}}
ALLOWED |= {room: set() for room in GROUND}

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(file: Path) -> str:
    """The first name below `perrin`, '' for the package's own __init__."""
    first = file.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def runtime_imports(file: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import that runs, in functions too; those for type checkers do not."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write the import from 'perrin' in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "perrin" else []
            found += [(node.lineno, name) for name in names or [str(node.module)]]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_every_import_goes_down(file):
    room = room_of(file)
    assert room == "" or room in HEIGHT, f"{room!r} has no floor: add it to FLOORS where it belongs"
    for line, name in runtime_imports(file):
        parts = name.split(".")
        if parts[0] != "perrin" or len(parts) == 1 or parts[1] == "__version__":
            continue
        assert parts[1] == room or HEIGHT[parts[1]] < HEIGHT[room], f"{file}:{line}: {room} imports {name}"


CORE_FILES = [file for file in FILES if room_of(file) in ALLOWED]


@pytest.mark.parametrize("file", CORE_FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_core_floors_import_torch_and_numpy_only(file):
    for line, name in runtime_imports(file):
        top = name.split(".")[0]
        if top != "perrin" and top not in sys.stdlib_module_names:
            assert top in ALLOWED[room_of(file)], f"{file}:{line}: {room_of(file)} imports {name}"
