"""A path to a dataset of molecules: SMILES, tables, structure files, or padded arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.labels import Labels, index_labels
from perrin.kinds.molecules.content import inner_suffix
from perrin.kinds.molecules.records import Joined, Records
from perrin.kinds.molecules.sdf import structure_data
from perrin.kinds.molecules.smiles_rows import smiles_lines, smiles_table
from perrin.kinds.molecules.source import Molecules
from perrin.kinds.molecules.stacked_atoms import stacked_atoms
from perrin.kinds.molecules.survey import Survey, placed, surveyed
from perrin.kinds.molecules.xyz import frames
from perrin.kinds.selection import Selection

STRUCTURES = (".sdf", ".sd", ".mol", ".xyz")
LINES = (".smi", ".smiles", ".ism", ".txt")


def open_molecules(
    path: str | Path,
    *,
    smiles_column: str = "smiles",
    properties: Sequence[str] = (),
    label_column: str | None = None,
    labels: bool = True,
    hydrogens: bool = True,
    embed: bool = False,
    skip_broken: bool = False,
) -> Selection:
    """Open molecules by their path; every one is read once to see that it is whole.

    Args:
        path: `.smi` or `.txt` (a SMILES a line, a name behind it), `.csv` with a column of SMILES, `.sdf` or `.mol`,
            `.xyz` of any number of frames, each also as `.gz`; `.npz` (see `stacked_atoms`); or a folder of `.sdf`
            and `.xyz` files.
        smiles_column: the column of a table.
        properties: what each molecule is said to have: fields of the file (columns, SD fields, `key=value` of an XYZ
            comment, arrays), or what RDKit computes (logp, qed, tpsa, weight, sa, ...). A field wins.
        label_column: the field that is a molecule's class; default `label` where there is one. labels: False ignores.
        hydrogens: True makes an atom of every hydrogen that valences imply; False leaves out all.
        embed: give positions to molecules that have none, by distance geometry and a force field with a fixed seed;
            they are kept in the cache.
        skip_broken: leave broken molecules out and list them in `skipped`, in place of refusing them.

    Raises:
        PerrinError: nothing there, broken molecules, no such property or column.
    """
    path = Path(path)
    if isinstance(properties, str):
        raise PerrinError(f"properties are a list: write properties: [{properties}]")
    source = Molecules(_records(path, smiles_column, hydrogens), hydrogens, tuple(properties))
    found = surveyed(source, label_column, labels)
    positions, reasons = placed(source, found) if embed else (None, dict(found.reasons))
    _refuse(source, reasons, path, skip_broken)
    kept = np.setdiff1d(np.arange(len(source)), list(reasons))
    named = _labels(found, path) if labels else Labels(None, None)
    values = np.array(found.values).reshape(len(source), -1)
    source = replace(source, values=values, placed=positions, labels=named.of_item, classes=named.classes)
    facts = {
        "kind": "molecules",
        "path": str(path),
        "properties": list(properties),
        "hydrogens": hydrogens,
        "atoms": int(max(found.sizes[index] for index in kept)),
        "positions": "embedded" if positions else "of the file" if found.spatial else "none",
        "sha256": found.sha256,
    }
    return Selection(source, kept, facts, [source.name(index) for index in reasons])


def _records(path: Path, smiles_column: str, hydrogens: bool) -> Records:
    if not path.exists():
        raise PerrinError(
            f"no file or folder '{path}'; molecules are a .smi, .csv, .sdf, .xyz or .npz file, or a folder of .sdf "
            "and .xyz files"
        )
    if path.is_dir():
        files = sorted(
            file for file in path.rglob("*") if inner_suffix(file) in STRUCTURES and file.is_file()
        )
        if not files:
            raise PerrinError(f"no .sdf or .xyz file in folder '{path}'")
        folders = [file.parent.relative_to(path).as_posix() + "/" for file in files]
        return Joined(
            [_records(file, smiles_column, hydrogens) for file in files],
            ["" if folder == "./" else folder for folder in folders],
        )
    suffix = inner_suffix(path)
    if suffix == ".npz":
        return stacked_atoms(path)
    if suffix == ".xyz":
        return frames(path)
    if suffix in STRUCTURES:
        return structure_data(path)
    if suffix == ".csv":
        return smiles_table(path, smiles_column, hydrogens=hydrogens)
    if suffix in LINES:
        return smiles_lines(path, hydrogens=hydrogens)
    raise PerrinError(
        f"'{path}' is no file of molecules: {', '.join((*LINES, '.csv', *STRUCTURES))} (each also .gz) and .npz are"
    )


def _refuse(source: Molecules, reasons: dict[int, str], path: Path, skip_broken: bool) -> None:
    if reasons and (not skip_broken or len(reasons) == len(source)):
        listed = few((f"{source.name(i)} ({why})" for i, why in reasons.items()), 3)
        raise PerrinError(
            f"{len(reasons):,} of {len(source):,} molecules of '{path}' are broken: {listed}; repair them, or leave "
            "them out with skip_broken: true"
        )


def _labels(found: Survey, path: Path) -> Labels:
    if found.labels is None:
        return Labels(None, None)
    return index_labels(found.labels, f"labels of '{path}'")
