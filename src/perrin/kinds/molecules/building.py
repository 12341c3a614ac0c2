"""Atoms and bonds as RDKit's molecule, just as they are, and what is wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perrin.kinds.molecules.molecule import Bond, Molecule

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def built(molecule: Molecule, bonds: tuple[Bond, ...]) -> Mol:
    """Atoms and bonds as they are given, nothing checked; positions, if any, as the only conformer."""
    from rdkit import Chem

    mol = Chem.RWMol()
    for element, charge in zip(molecule.elements, molecule.charges, strict=True):
        atom = Chem.Atom(element if element != "*" else 0)
        atom.SetFormalCharge(charge)
        atom.SetNoImplicit(molecule.hydrogens)
        mol.AddAtom(atom)
    kinds = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE)
    for i, j, order in bonds:
        mol.AddBond(i, j, kinds[order - 1])
    if molecule.positions is not None:
        conformer = Chem.Conformer(len(molecule))
        conformer.SetPositions(np.ascontiguousarray(molecule.positions))
        conformer.Set3D(True)
        mol.AddConformer(conformer, assignId=True)
    return mol.GetMol()


def unsound(mol: Mol) -> str | None:
    """What is wrong with a molecule that cannot be sanitised; None, and the molecule is sanitised, where nothing is."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        problems = Chem.DetectChemistryProblems(mol)
        if problems:
            return str(problems[0].Message())
        try:
            Chem.SanitizeMol(mol)
        except ValueError as error:
            return str(error)
    return None
