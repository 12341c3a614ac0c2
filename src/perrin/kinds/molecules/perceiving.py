"""Which atoms are bonded, seen from where they are.

Two ways. The strict one (`perceived`) is RDKit's: covalent radii give the graph, and a search over valences gives
orders, aromatic rings and formal charges of the whole molecule (Kim and Kim 2015, doi:10.1002/bkcs.10334); it fails
where no orders fit. The other (`lengths`) takes each bond for itself by its length (`bond_lengths`), so it always
says something, which may be unsound. A molecule is built the strict way, and by lengths where that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.bond_lengths import bond_orders
from perrin.kinds.molecules.building import built, unsound
from perrin.kinds.molecules.molecule import Bond, Molecule

if TYPE_CHECKING:
    from rdkit.Chem import Mol

How = Literal["given", "perceived", "lengths"]
TRIES = 2_000  # combinations of valences; real drug-like molecules need few, wrecks would need millions


def perceived_rdkit(molecule: Molecule) -> tuple[Mol, How]:
    """A molecule with bonds from its positions, and which way gave them. It is not sanitised.

    Raises:
        PerrinError: no positions.
    """
    if molecule.positions is None:
        raise PerrinError(
            f"{molecule.name or 'the molecule'} has neither bonds nor positions in three dimensions"
        )
    strict = _strict(molecule) if molecule.hydrogens and "*" not in molecule.elements else None
    return (built(molecule, by_length(molecule)), "lengths") if strict is None else (strict, "perceived")


def by_length(molecule: Molecule) -> tuple[Bond, ...]:
    """Each bond by its length alone."""
    known = np.array([i for i, element in enumerate(molecule.elements) if element != "*"], np.int64)
    if molecule.positions is None or not len(known):
        return ()
    orders = bond_orders([molecule.elements[i] for i in known], molecule.positions[known])
    rows, columns = np.nonzero(np.triu(orders))
    return tuple(
        (int(known[i]), int(known[j]), int(orders[i, j])) for i, j in zip(rows, columns, strict=True)
    )


def _strict(molecule: Molecule) -> Mol | None:
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDetermineBonds

    mol = Chem.RWMol(built(molecule, ()))
    for atom in mol.GetAtoms():
        atom.SetFormalCharge(0)  # it finds where the charges are
    with rdBase.BlockLogs():
        try:
            rdDetermineBonds.DetermineBonds(
                mol, charge=molecule.charge, maxIterations=TRIES, embedChiral=False
            )
        except (ValueError, RuntimeError):  # no orders fit, or too many might
            return None
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    if any(abs(atom.GetFormalCharge()) > (atom.GetSymbol() != "H") for atom in mol.GetAtoms()):
        return None  # a wreck taken for bare ions: no stable molecule has H+ or C3- in it
    made = mol.GetMol()
    return made if unsound(Chem.Mol(made)) is None else None
