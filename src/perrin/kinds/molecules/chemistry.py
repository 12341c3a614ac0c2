"""Molecules <-> RDKit's: formal charges, bonds, stereo and explicit hydrogens are kept.

Stereo is not a value of `Molecule`: positions say it, and where there are none its SMILES does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from perrin.errors import PerrinError
from perrin.kinds.molecules.building import built, unsound
from perrin.kinds.molecules.library import need_rdkit, overheard, reason
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.perceiving import perceived_rdkit

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def to_rdkit(molecule: Molecule, *, sanitize: bool = True) -> Mol:
    """The molecule as RDKit has it, its atoms in the same order.

    Bonds that are not known are perceived from the positions; the property `bonds` of what is returned says how:
    "given", "perceived" or "lengths" (see `perceiving`).

    Args:
        sanitize: False gives an unsound molecule as it is, such as for drawing.

    Raises:
        PerrinError: neither bonds nor positions; with `sanitize`, an unsound molecule, with RDKit's reason.
    """
    need_rdkit("a molecule's chemistry")
    from rdkit import Chem

    bonds = molecule.bonds
    mol, how = perceived_rdkit(molecule) if bonds is None else (built(molecule, bonds), "given")
    wrong = unsound(mol)
    if wrong is not None and sanitize:
        raise PerrinError(f"{_title(molecule)} is not sound: {wrong}")
    if wrong is None:
        mol = _with_stereo(mol, molecule)
    else:
        mol.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(mol)
    mol.SetProp("bonds", how)
    if molecule.name:
        mol.SetProp("_Name", molecule.name)
    return mol


def with_bonds(molecule: Molecule) -> Molecule:
    """The molecule with bonds, and with the formal charges that they ask for where it had none."""
    if molecule.bonds is not None:
        return molecule
    if "_bonded" not in molecule.__dict__:  # once, since a molecule is encoded many times
        found = from_rdkit(to_rdkit(molecule, sanitize=False))
        molecule.__dict__["_bonded"] = replace(molecule, bonds=found.bonds, charges=found.charges)
    bonded: Molecule = molecule.__dict__["_bonded"]
    return bonded


def with_hydrogens(molecule: Molecule) -> Molecule:
    """The molecule with every hydrogen as an atom, after the others; placed where the others are.

    Raises:
        PerrinError: an unsound molecule, whose valences do not say how many there are.
    """
    if molecule.hydrogens:
        return molecule
    from rdkit import Chem

    full = Chem.AddHs(to_rdkit(molecule), addCoords=molecule.positions is not None)
    return replace(from_rdkit(full), name=molecule.name, properties=molecule.properties)


def without_hydrogens(molecule: Molecule) -> Molecule:
    """The molecule without its atoms of hydrogen.

    Raises:
        PerrinError: nothing is left.
    """
    kept = [i for i, element in enumerate(molecule.elements) if element != "H"]
    if not kept:
        raise PerrinError("no atom but hydrogen")
    place = {i: new for new, i in enumerate(kept)}
    bonds = molecule.bonds
    if bonds is not None:
        bonds = tuple((place[i], place[j], order) for i, j, order in bonds if i in place and j in place)
    return replace(
        molecule,
        elements=tuple(molecule.elements[i] for i in kept),
        charges=tuple(molecule.charges[i] for i in kept),
        positions=None if molecule.positions is None else molecule.positions[kept],
        bonds=bonds,
        hydrogens=False,
    )


def from_rdkit(mol: Mol, *, name: str = "", properties: Mapping[str, float] | None = None) -> Molecule:
    """RDKit's molecule as values; its SMILES is kept where it is sound.

    Raises:
        PerrinError: bonds of an order beyond 3.
    """
    from rdkit import Chem

    plain = Chem.Mol(mol)
    smiles = None
    if unsound(plain) is None:
        smiles = canonical(plain)
        Chem.Kekulize(plain, clearAromaticFlags=True)
    else:
        plain.UpdatePropertyCache(strict=False)
    placed = plain.GetNumConformers() > 0 and plain.GetConformer().Is3D()
    return Molecule(
        elements=tuple(atom.GetSymbol() for atom in plain.GetAtoms()),
        charges=tuple(atom.GetFormalCharge() for atom in plain.GetAtoms()),
        positions=plain.GetConformer().GetPositions() if placed else None,
        bonds=tuple((b.GetBeginAtomIdx(), b.GetEndAtomIdx(), _order(b, name)) for b in plain.GetBonds()),
        smiles=smiles,
        properties=dict(properties or {}),
        hydrogens=all(atom.GetTotalNumHs() == 0 for atom in plain.GetAtoms()),
        name=name,
    )


def _order(bond: object, name: str) -> int:
    from rdkit.Chem import BondType

    kind = bond.GetBondType()  # type: ignore[attr-defined]
    orders = {
        BondType.SINGLE: 1,
        BondType.DOUBLE: 2,
        BondType.TRIPLE: 3,
        BondType.DATIVE: 1,
        BondType.ZERO: 1,
    }
    if kind not in orders:
        raise PerrinError(
            f"{name or 'the molecule'} has a bond of type {kind}; single, double and triple are known"
        )
    return orders[kind]


def from_smiles(smiles: str, *, hydrogens: bool = True, name: str = "") -> Molecule:
    """A molecule of a SMILES, without positions; its hydrogens, if asked for, come after the other atoms.

    Raises:
        PerrinError: a SMILES that does not parse, with RDKit's reason.
    """
    from rdkit import Chem

    mol = parsed(smiles)
    return from_rdkit(Chem.AddHs(mol) if hydrogens else mol, name=name)


def parsed(smiles: str) -> Mol:
    """RDKit's molecule of a SMILES.

    Raises:
        PerrinError: one that does not parse, with RDKit's reason, or one of no atoms.
    """
    need_rdkit("reading SMILES")
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        with overheard() as said:
            Chem.MolFromSmiles(smiles)
        raise PerrinError(f"SMILES {smiles!r} does not parse: {reason(said)}")
    if not mol.GetNumAtoms():
        raise PerrinError("an empty SMILES")
    return mol


def canonical(mol: Mol) -> str:
    """RDKit's canonical SMILES, isomeric, without explicit hydrogens where they follow from valences."""
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        return str(Chem.MolToSmiles(Chem.RemoveHs(mol)))


def smiles_of(molecule: Molecule) -> str | None:
    """The canonical SMILES of a molecule as its atoms, bonds and positions say; None for an unsound one."""
    try:
        return canonical(to_rdkit(molecule))
    except PerrinError:
        return None


def _with_stereo(mol: Mol, molecule: Molecule) -> Mol:
    from rdkit import Chem

    if molecule.positions is not None:
        Chem.AssignStereochemistryFrom3D(mol)
        return mol
    if molecule.smiles is None or not set(molecule.smiles) & set("@/\\"):
        return mol
    template = parsed(molecule.smiles)
    template = Chem.AddHs(template) if molecule.hydrogens else template
    place = template.GetSubstructMatch(mol) if template.GetNumAtoms() == mol.GetNumAtoms() else ()
    return Chem.RenumberAtoms(template, list(place)) if place else mol


def _title(molecule: Molecule) -> str:
    return f"'{molecule.name}'" if molecule.name else "the molecule"
