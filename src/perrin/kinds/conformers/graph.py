"""A molecule's graph as a torsional network is told it: atoms, bonds, and which bonds turn.

A bond turns when it is a single one outside rings and each of its ends, none of them linear, has a heavy neighbour
besides: amides, esters and sulfonamides among them (a model learns where they stand; held at the local structure's they
would keep its mistakes). Hydrogens are no atoms here; those of a hydroxyl or a methyl have no angle that is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perrin.kinds.molecules.chemistry import to_rdkit
from perrin.kinds.molecules.molecule import Molecule

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Mol

FEATURES = (
    "charge", "hydrogens", "degree", "aromatic", "ring", "ring3", "ring4", "ring5", "ring6", "ring7", "sp", "sp2",
    "sp3", "conjugated",
)  # fmt: skip
AROMATIC = 4  # where orders are 1, 2 and 3


@dataclass(frozen=True, eq=False)
class Graph:
    """What is known of n atoms and m torsions without positions.

    Attributes:
        numbers: [n] atomic numbers; features: float32 [n, F], see `FEATURES`; bonds: [n, n], 4 for aromatic.
        quadruples: [m, 4] the atoms i-j-k-l of each dihedral angle; moves: bool [m, n], those on the side of l,
            the smaller one.
    """

    numbers: np.ndarray
    features: np.ndarray
    bonds: np.ndarray
    quadruples: np.ndarray
    moves: np.ndarray


def graph_of(molecule: Molecule) -> Graph:
    """The graph of a molecule without explicit hydrogens.

    Raises:
        PerrinError: an unsound molecule.
    """
    mol = to_rdkit(molecule)
    bonds = np.zeros((len(molecule), len(molecule)), np.int64)
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        bonds[i, j] = bonds[j, i] = AROMATIC if bond.GetIsAromatic() else int(bond.GetBondTypeAsDouble())
    quadruples, moves = _torsions(mol, bonds > 0)
    features = np.array([_features(atom) for atom in mol.GetAtoms()], np.float32)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], np.int64)
    return Graph(numbers, features, bonds, quadruples, moves)


def _features(atom: Atom) -> list[float]:
    from rdkit.Chem import HybridizationType

    ring = [atom.IsInRingSize(size) for size in (3, 4, 5, 6, 7)]
    mixed = [
        atom.GetHybridization() == kind
        for kind in (HybridizationType.SP, HybridizationType.SP2, HybridizationType.SP3)
    ]
    conjugated = any(bond.GetIsConjugated() for bond in atom.GetBonds())
    facts = [atom.GetIsAromatic(), atom.IsInRing(), *ring, *mixed, conjugated]
    return [atom.GetFormalCharge(), atom.GetTotalNumHs(), atom.GetDegree(), *map(float, facts)]


def _torsions(mol: Mol, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from rdkit.Chem import BondType, HybridizationType

    quadruples, moves = [], []
    for bond in mol.GetBonds():
        ends = (bond.GetBeginAtom(), bond.GetEndAtom())
        turns = bond.GetBondType() == BondType.SINGLE and not bond.IsInRing()
        if not turns or any(
            end.GetDegree() < 2 or end.GetHybridization() == HybridizationType.SP for end in ends
        ):
            continue
        j, k = (end.GetIdx() for end in ends)
        side = _side(near, j, k)
        if 2 * side.sum() > len(side):
            j, k, side = k, j, ~side
        quadruples.append([_first(near, j, k), j, k, _first(near, k, j)])
        moves.append(side)
    count = len(quadruples)
    return (
        np.array(quadruples, np.int64).reshape(count, 4),
        np.array(moves, bool).reshape(count, len(near)),
    )


def _first(near: np.ndarray, atom: int, but: int) -> int:
    return next(int(other) for other in np.flatnonzero(near[atom]) if other != but)


def _side(near: np.ndarray, j: int, k: int) -> np.ndarray:
    """The atoms that hang on k when its bond to j is cut, bool [n]."""
    found = np.zeros(len(near), bool)
    found[k] = True
    cut = near.copy()
    cut[j, k] = cut[k, j] = False
    while True:
        grown = found | cut[found].any(0)
        if (grown == found).all():
            return found
        found = grown
