"""Molecules on their way out: structure files, SMILES, tables, pictures and pages, each with how they were made."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL.Image import open as open_image

from perrin.errors import PerrinError
from perrin.kinds.files import item_file
from perrin.kinds.labels import class_name
from perrin.kinds.molecules.chemistry import canonical, to_rdkit
from perrin.kinds.molecules.depict import sheet
from perrin.kinds.molecules.elements import NUMBERS
from perrin.kinds.molecules.library import need_rdkit
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.opening import open_molecules
from perrin.kinds.molecules.view import read_page, save_page
from perrin.kinds.provenance import CHUNK, png_text, write_sidecar
from perrin.saving import replacing

SUFFIXES = (".sdf", ".xyz", ".smi", ".csv", ".png", ".html")


def save_molecules(
    decoded: Sequence[Molecule],
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
) -> list[Path]:
    """Write molecules with their provenance.

    Args:
        path: `.sdf`: a record each, which carries its own provenance; `.xyz`, `.smi` and `.csv`: all of them, with
            `NAME.json` beside; `.png`: a sheet of drawings; `.html`: a page to turn them on. Any other name is a
            folder for `00000_label.sdf`, ...
        provenance: one each; `index` in it is the number in the file's name, `label` (an index or a name) the class.

    Returns:
        The files.

    Raises:
        PerrinError: another suffix, no positions where they are needed, or a file that cannot be written.
    """
    if len(decoded) != len(provenance):
        raise ValueError(f"{len(decoded)} molecules with {len(provenance)} provenances")
    need_rdkit("writing molecules")
    suffix = "" if path.is_dir() else path.suffix.lower()
    made = dict(provenance[0]) if len(decoded) == 1 else {"items": [dict(one) for one in provenance]}
    if suffix == "":
        return _folder(decoded, path, provenance, classes)
    if suffix == ".sdf":
        return [write_sdf(decoded, path, provenance)]
    if suffix == ".png":
        with replacing(path) as part:
            sheet(decoded).save(part, format="PNG", pnginfo=png_text(made))
        return [path]
    if suffix == ".html":
        return [save_page(decoded, path, made)]
    writers: dict[str, Callable[[IO[str], Iterable[Molecule]], None]] = {
        ".xyz": _write_xyz,
        ".smi": _write_smiles,
        ".csv": _write_table,
    }
    if suffix not in writers:
        raise PerrinError(f"molecules are saved as {', '.join(SUFFIXES)}, or into a folder, not '{path}'")
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as out:
        writers[suffix](out, decoded)
    return [path, write_sidecar(path, made)]


def _folder(
    decoded: Sequence[Molecule],
    path: Path,
    provenance: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None,
) -> list[Path]:
    return [
        write_sdf(
            [molecule],
            path / item_file(made.get("index", position), class_name(made.get("label"), classes), ".sdf"),
            [made],
        )
        for position, (molecule, made) in enumerate(zip(decoded, provenance, strict=True))
    ]


def write_sdf(molecules: Iterable[Molecule], path: Path, provenance: Iterable[Mapping[str, Any]]) -> Path:
    """Write records one at a time: molecules and provenance may come from generators of any length."""
    need_rdkit("writing molecules")
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as out:
        for molecule, made in zip(molecules, provenance, strict=True):
            out.write(record(molecule, made))
    return path


def record(molecule: Molecule, made: Mapping[str, Any]) -> str:
    """One record of a structure-data file, its fields and the line that ends it.

    Positions have four decimals. A sound molecule is written with its stereo; another with its bonds as they are.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDepictor

    mol, sound = _mol(molecule)
    with rdBase.BlockLogs():
        if molecule.positions is None:
            rdDepictor.Compute2DCoords(mol)
        if sound:
            Chem.Kekulize(mol, clearAromaticFlags=True)
        block = Chem.MolToMolBlock(mol, kekulize=False)  # V3000 where there are more than 999 atoms or bonds
    fields = {
        **({"smiles": canonical(mol)} if sound else {}),
        "bonds": mol.GetProp("bonds"),
        **{name: repr(value) for name, value in molecule.properties.items()},
        CHUNK: json.dumps(dict(made), ensure_ascii=False),
    }
    return block + "".join(f">  <{name}>\n{value}\n\n" for name, value in fields.items()) + "$$$$\n"


def _mol(molecule: Molecule) -> tuple[Any, bool]:
    """RDKit's molecule, and whether it is sound."""
    try:
        return to_rdkit(molecule), True
    except PerrinError:
        return to_rdkit(molecule, sanitize=False), False


def _smiles(molecule: Molecule) -> tuple[str, bool]:
    """SMILES, of an unsound molecule as it is, and whether it is sound."""
    from rdkit import Chem

    mol, sound = _mol(molecule)
    return (canonical(mol) if sound else str(Chem.MolToSmiles(mol))), sound


def _write_smiles(out: IO[str], molecules: Iterable[Molecule]) -> None:
    for molecule in molecules:
        out.write(f"{_smiles(molecule)[0]} {molecule.name}".rstrip() + "\n")


def _write_table(out: IO[str], molecules: Iterable[Molecule]) -> None:
    writer, names = csv.writer(out), None
    for molecule in molecules:
        if names is None:
            names = list(molecule.properties)
            writer.writerow(["smiles", "sound", "name", "atoms", "charge", *names])
        smiles, sound = _smiles(molecule)
        numbers = [repr(molecule.properties[name]) if name in molecule.properties else "" for name in names]
        writer.writerow([smiles, str(sound).lower(), molecule.name, len(molecule), molecule.charge, *numbers])


def _write_xyz(out: IO[str], molecules: Iterable[Molecule]) -> None:
    for molecule in molecules:
        if molecule.positions is None:
            raise PerrinError(
                f"{molecule.name or 'a molecule'} has no positions for an .xyz file; write .smi, .csv or .sdf"
            )
        fields = {
            **({"name": molecule.name} if molecule.name else {}),
            **({"charges": ",".join(map(str, molecule.charges))} if any(molecule.charges) else {}),
            **{name: repr(value) for name, value in molecule.properties.items()},
        }
        comment = " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
        out.write(f"{len(molecule)}\n{comment}\n")
        for element, (x, y, z) in zip(molecule.elements, molecule.positions, strict=True):
            out.write(f"{element:<2} {x:14.8f} {y:14.8f} {z:14.8f}\n")


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w.,:+-]+", value) else '"' + re.sub(r'["\\\r\n]', " ", value) + '"'


def read_saved(path: Path) -> np.ndarray:
    """The values of a file that `save_molecules` wrote: of structures their atoms, charges, bonds and positions one
    after another, float64; pixels of a `.png`; code points of SMILES, tables and pages."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        with open_image(path) as image:
            return np.asarray(image)
    if suffix == ".html":
        return read_page(path)
    if suffix not in (".sdf", ".xyz"):
        return np.frombuffer(path.read_bytes().decode().encode("utf-32-le"), "<u4")
    held = open_molecules(path)
    return np.concatenate([_values(held[index]["value"]) for index in range(len(held))])


def _values(molecule: Molecule) -> np.ndarray:
    numbers = [NUMBERS.get(element, 0) for element in molecule.elements]
    bonds = np.array(molecule.bonds or (), np.float64)
    places = np.empty(0) if molecule.positions is None else molecule.positions
    return np.concatenate([[len(molecule)], numbers, molecule.charges, bonds.ravel(), places.ravel()])
