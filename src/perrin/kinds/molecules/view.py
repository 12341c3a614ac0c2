"""Molecules in three dimensions: one HTML page, or a part of one, to turn them on. It needs no network.

Balls and sticks are drawn by a small script of our own on a canvas (`viewer.js`). A history of one molecule, from
noise to structure, has a slider over its steps; its bonds are seen from the places of each step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import to_rdkit
from perrin.kinds.molecules.depict import caption
from perrin.kinds.molecules.molecule import Bond, Molecule
from perrin.kinds.molecules.perceiving import by_length
from perrin.saving import write_text

_HERE = files(__package__)
_CAPTION = 76  # characters a line


def fragment(molecules: Sequence[Molecule]) -> str:
    """A part of an HTML page that shows molecules one at a time; a page may hold several.

    Raises:
        PerrinError: no molecules.
    """
    return _viewer([[molecule] for molecule in molecules])


def save_page(
    molecules: Sequence[Molecule],
    path: str | Path,
    provenance: Mapping[str, Any] | None = None,
    *,
    title: str = "Molecules",
) -> Path:
    """Write a page of molecules and return its path.

    Raises:
        PerrinError: no molecules, another suffix, or a file that cannot be written.
    """
    return save_history([[molecule] for molecule in molecules], path, provenance, title=title)


def save_history(
    histories: Sequence[Sequence[Molecule]],
    path: str | Path,
    provenance: Mapping[str, Any] | None = None,
    *,
    title: str = "Molecules from noise",
) -> Path:
    """Write a page of how molecules came about: [molecules][steps], the last step being the molecule itself.

    Raises:
        PerrinError: no molecules, another suffix, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise PerrinError(f"the page of molecules is saved as .html, not '{path}'")
    made = escape(json.dumps(provenance or {}, indent=1, ensure_ascii=False))
    page = _filled("page.html", title=escape(title), viewer=_viewer(histories), provenance=made)
    write_text(path, page)
    return path


def read_page(path: Path) -> np.ndarray:
    """The molecules that a page shows at last, as the code points of their JSON, uint32.

    Two pages of the same molecules agree, whether or not they show how these came about.
    """
    found = re.search(r'<script type="application/json">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    if found is None:
        raise PerrinError(f"'{path}' is no page of molecules that perrin sample wrote")
    last = json.dumps([shown["frames"][-1] for shown in json.loads(found[1])])
    return np.frombuffer(last.encode("utf-32-le"), "<u4")


def _viewer(histories: Sequence[Sequence[Molecule]]) -> str:
    if not histories:
        raise PerrinError("no molecules to show")
    content = json.dumps([_shown(steps) for steps in histories], separators=(",", ":"))
    return _filled(
        "viewer.html",
        style=_HERE.joinpath("viewer.css").read_text(encoding="utf-8"),
        script=_HERE.joinpath("viewer.js").read_text(encoding="utf-8"),
        content=content.replace("<", "\\u003c"),  # no text of it can end the element
    )


def _filled(template: str, **parts: str) -> str:
    text = _HERE.joinpath(template).read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text)


def _shown(steps: Sequence[Molecule]) -> dict[str, Any]:
    last = steps[-1]
    said, sound = caption(last, _CAPTION)
    name = [last.name] if last.name else []
    axes = _widest(_places(last))
    frames = [*(_frame(step, by_length(step), axes) for step in steps[:-1]), _frame(last, _bonds(last), axes)]
    return {"c": [*name, *said], "ok": sound, "frames": frames}


def _widest(places: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] that turns the widest view of atoms towards the reader, without mirroring them."""
    _, _, axes = np.linalg.svd(places - places.mean(0))
    turned: np.ndarray = axes * np.array([[1], [1], [np.linalg.det(axes)]])
    return turned.T


def _frame(molecule: Molecule, bonds: Sequence[Bond], axes: np.ndarray) -> dict[str, Any]:
    places = _places(molecule)
    centred = (places - places.mean(0)) @ axes
    return {
        "e": list(molecule.elements),
        "x": [round(float(value), 3) for value in centred.ravel()],
        "b": [list(bond) for bond in bonds],
    }


def _bonds(molecule: Molecule) -> list[Bond]:
    from rdkit import Chem

    mol = Chem.Mol(to_rdkit(molecule, sanitize=False))
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(bond.GetBondTypeAsDouble()))
        for bond in mol.GetBonds()
    ]


def _places(molecule: Molecule) -> np.ndarray:
    """Positions in angstrom; of a molecule without, its drawing's."""
    if molecule.positions is not None:
        return molecule.positions
    from rdkit.Chem import rdDepictor

    mol = to_rdkit(molecule, sanitize=False)
    rdDepictor.Compute2DCoords(mol)
    return np.asarray(mol.GetConformer().GetPositions())
