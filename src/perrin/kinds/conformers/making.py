"""Files of conformers: those of many SMILES, embedded one molecule after another into one structure-data file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perrin.errors import PerrinError
from perrin.kinds import files
from perrin.kinds.conformers.embedding import conformers
from perrin.kinds.molecules.chemistry import to_rdkit
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.smiles_rows import SmilesLines, smiles_lines
from perrin.saving import cache_folder, read_json, write_json

SEED = 1  # of the conformers that models are trained on
METHOD = "ETKDGv3, MMFF94, seed 1"  # what a kept file depends on beside its SMILES


def made_file(path: Path, each: int, limit: int | None) -> tuple[Path, list[str]]:
    """The file of conformers of a file of SMILES, in the cache, and the SMILES that have none, with the reasons."""
    key = files.fingerprint([path], each, limit, METHOD)
    made = cache_folder("conformers", key + ".sdf")
    return made, make(smiles_lines(path), made, each, limit)


def make(lines: SmilesLines, out: Path, each: int, limit: int | None = None) -> list[str]:
    """Write `each` conformers of the first SMILES; a file that was begun is gone on with.

    Returns:
        The SMILES that have none, each with the reason.
    """
    record = out.with_suffix(".json")
    state: dict[str, Any] = {"done": 0, "bytes": 0, "broken": []}
    if record.exists() and out.exists():
        state = read_json(record, "record of conformers")
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("r+b" if out.exists() else "w+b") as file:
        file.truncate(state["bytes"])  # what a broken run wrote behind its last record
        file.seek(state["bytes"])
        for index in range(state["done"], len(lines) if limit is None else min(limit, len(lines))):
            try:
                file.write(records(conformers(lines.read(index).molecule, SEED, range(each))).encode())
            except PerrinError as error:
                state["broken"].append(f"{lines.name(index)} ({error})")
            file.flush()
            state |= {"done": index + 1, "bytes": file.tell()}
            write_json(record, state)
    return list(state["broken"])


def records(found: Sequence[Molecule]) -> str:
    """The conformers of a molecule as records of a structure-data file, named after it."""
    from rdkit import Chem

    text = ""
    for molecule in found:
        mol = to_rdkit(molecule)
        mol.SetProp("_Name", molecule.name or molecule.smiles or "")
        text += Chem.MolToMolBlock(mol) + "$$$$\n"
    return text
