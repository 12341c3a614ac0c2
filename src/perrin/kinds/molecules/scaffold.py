"""A scaffold that samples are to contain: the heavy atoms of a SMILES, with positions.

Its hydrogens are left to the model, since any of them may have to make room for what grows there; a place of
attachment may be marked with `*`, which counts as a hydrogen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import from_rdkit, parsed, without_hydrogens
from perrin.kinds.molecules.embedding import embedded
from perrin.kinds.molecules.molecule import Molecule


@dataclass(frozen=True)
class Scaffold:
    """The heavy atoms, centred, and how many atoms they are with their hydrogens."""

    molecule: Molecule
    full: int


def scaffold(smiles: str) -> Scaffold:
    """The scaffold of a SMILES; a function of it alone.

    Raises:
        PerrinError: a SMILES that does not parse, is in pieces, or has no heavy atom or no place in space.
    """
    from rdkit import Chem

    mol = parsed(smiles)
    if len(Chem.GetMolFrags(mol)) > 1:
        raise PerrinError(
            f"scaffold {smiles!r} is in {len(Chem.GetMolFrags(mol))} pieces; write one that is connected"
        )
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 0:
            atom.SetAtomicNum(1)
            atom.SetIsotope(0)
            atom.SetAtomMapNum(0)
    Chem.SanitizeMol(mol)
    full = embedded(from_rdkit(Chem.AddHs(mol), name=f"scaffold {smiles}"))
    heavy = without_hydrogens(full)
    assert heavy.positions is not None
    return Scaffold(replace(heavy, positions=heavy.positions - heavy.positions.mean(0)), len(full))
