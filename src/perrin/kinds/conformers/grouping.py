"""Records of a structure-data file that follow one another and are conformers of one molecule, as one item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from perrin.kinds.conformers.ensemble import Ensemble
from perrin.kinds.molecules.chemistry import from_rdkit
from perrin.kinds.molecules.library import overheard, reason
from perrin.kinds.molecules.sdf import StructureData

if TYPE_CHECKING:
    from rdkit.Chem import Mol


class Grouped(NamedTuple):
    """Ensembles, the name of each, and the records that are broken, each with what is wrong."""

    ensembles: list[Ensemble]
    names: list[str]
    broken: list[str]


def grouped(records: StructureData) -> Grouped:
    """The molecules of a file, explicit hydrogens left out; a new one begins where atoms, bonds or stereo differ."""
    found, last = Grouped([], [], []), None
    places = list[np.ndarray]()
    molecule = None
    for index in range(len(records)):
        mol = _read(records, index)
        if isinstance(mol, str):
            found.broken.append(f"{records.name(index)} ({mol})")
            continue
        key = _key(mol)
        if key != last:
            if molecule is not None:
                found.ensembles.append(Ensemble(molecule, np.stack(places)))
            name = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
            found.names.append(name or records.name(index))
            molecule, places, last = from_rdkit(_flat(mol), name=name), [], key
        places.append(mol.GetConformer().GetPositions().astype(np.float32))
    if molecule is not None:
        found.ensembles.append(Ensemble(molecule, np.stack(places)))
    return found


def _read(records: StructureData, index: int) -> Mol | str:
    """The molecule of a record, or why there is none."""
    from rdkit import Chem

    block = bytes(records.data[records.starts[index] : records.stops[index]]).decode(errors="replace")
    mol = Chem.MolFromMolBlock(block, removeHs=True)
    if mol is None:
        with overheard() as said:
            Chem.MolFromMolBlock(block)
        return reason(said)
    if not mol.GetNumAtoms():
        return "no atoms"
    places = mol.GetConformer().GetPositions()
    if not np.isfinite(places).all():
        return "a position is not finite"
    if len(places) > 3 and not mol.GetConformer().Is3D():
        return "a drawing in two dimensions; conformers need positions in three"
    return mol


def _key(mol: Mol) -> tuple[Any, ...]:
    """What two records share that are conformers of one molecule."""
    atoms = tuple(
        (atom.GetAtomicNum(), atom.GetFormalCharge(), str(atom.GetChiralTag())) for atom in mol.GetAtoms()
    )
    bonds = tuple(
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), str(bond.GetBondType()), str(bond.GetStereo()))
        for bond in mol.GetBonds()
    )
    return atoms, bonds


def _flat(mol: Mol) -> Mol:
    from rdkit import Chem

    plain = Chem.Mol(mol)
    plain.RemoveAllConformers()
    return plain
