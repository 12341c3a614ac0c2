"""A molecule out of the tensors that a network is told: graph and positions -> `Molecule`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.conformers.graph import AROMATIC, FEATURES
from perrin.kinds.molecules.building import unsound
from perrin.kinds.molecules.chemistry import from_rdkit
from perrin.kinds.molecules.library import need_rdkit
from perrin.kinds.molecules.molecule import Molecule

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_CHARGE, _HYDROGENS = FEATURES.index("charge"), FEATURES.index("hydrogens")


def rebuilt(
    numbers: np.ndarray, features: np.ndarray, bonds: np.ndarray, positions: np.ndarray, hydrogens: bool
) -> Molecule:
    """A molecule of a graph at positions; its stereo is that of the positions.

    Args:
        numbers: [N], 0 absent; features: [N, F]; bonds: [N, N]; positions: [N, 3] in angstrom.
        hydrogens: whether to place the hydrogens too, at standard lengths and angles.

    Raises:
        PerrinError: a graph that is no sound molecule.
    """
    need_rdkit("conformers")
    from rdkit import Chem

    mol = _heavy(numbers[numbers > 0], features, bonds)
    wrong = unsound(mol)
    if wrong is not None:
        raise PerrinError(f"the graph of the condition is no sound molecule: {wrong}")
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(positions[numbers > 0], np.float64))
    conformer.Set3D(True)
    mol.AddConformer(conformer, assignId=True)
    Chem.AssignStereochemistryFrom3D(mol)
    return from_rdkit(Chem.AddHs(mol, addCoords=True) if hydrogens else mol)


def _heavy(numbers: np.ndarray, features: np.ndarray, bonds: np.ndarray) -> Mol:
    from rdkit import Chem

    kinds = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}
    kinds[AROMATIC] = Chem.BondType.AROMATIC
    mol = Chem.RWMol()
    for number, facts in zip(numbers.tolist(), features.tolist(), strict=False):
        atom = Chem.Atom(number)
        atom.SetFormalCharge(round(facts[_CHARGE]))
        atom.SetNumExplicitHs(round(facts[_HYDROGENS]))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for i, j in np.argwhere(np.tril(bonds, -1) > 0).tolist():
        mol.AddBond(j, i, kinds[int(bonds[i, j])])
        if bonds[i, j] == AROMATIC:
            for end in (i, j):
                mol.GetAtomWithIdx(end).SetIsAromatic(True)
    return mol.GetMol()
