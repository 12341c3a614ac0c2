"""SMILES and their canonical spelling, which equal molecules share (Weininger 1988, doi:10.1021/ci00057a005)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import parsed
from perrin.kinds.molecules.library import need_rdkit

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def molecule_of(smiles: str, where: str = "the SMILES") -> Mol:
    """RDKit's molecule of a SMILES.

    Args:
        where: what it is, for messages.

    Raises:
        PerrinError: no molecule: what RDKit says.
    """
    try:
        return parsed(smiles)
    except PerrinError as error:
        raise PerrinError(f"{where}: {error}") from error


def canonical(smiles: str, where: str = "the SMILES") -> str:
    """RDKit's canonical SMILES of a molecule; raises as `molecule_of`."""
    mol = molecule_of(smiles, where)
    from rdkit import Chem

    return str(Chem.MolToSmiles(mol))


def molecule_or_none(smiles: str) -> Mol | None:
    """RDKit's molecule of a SMILES; None for what is no molecule or has no atom."""
    need_rdkit("reading SMILES")
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    return mol if mol is not None and mol.GetNumAtoms() else None


def tidy(smiles: str) -> str:
    """The canonical SMILES of a molecule; what is none, or would not be read again, as it is."""
    mol = molecule_or_none(smiles)
    if mol is None:
        return smiles
    from rdkit import Chem

    found = str(Chem.MolToSmiles(mol))
    return found if molecule_or_none(found) is not None else smiles
