"""One molecule as figures see it: read once by RDKit, then numbers only, so that many thousands fit in memory.

What RDKit refuses becomes a reason that can be counted. Stereo is left out of the SMILES that molecules are compared
by: a mirror image is no new molecule.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.molecule_stability import stability
from perrin.evaluate.molecule_strain import strain
from perrin.kinds.molecules.chemistry import parsed, to_rdkit
from perrin.kinds.molecules.describing import describe
from perrin.kinds.molecules.elements import atomic_numbers
from perrin.kinds.molecules.library import need_rdkit
from perrin.kinds.molecules.molecule import Molecule

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from rdkit.DataStructs import ExplicitBitVect

PROPERTIES = ("logp", "qed", "tpsa", "weight", "heavy_atoms", "sa")
BITS = 2048  # of fingerprints: Morgan's of radius 2 (Rogers and Hahn 2010, doi:10.1021/ci100050t)
_SIGNS = {"SINGLE": "-", "DOUBLE": "=", "TRIPLE": "#", "AROMATIC": ":"}

Value: TypeAlias = Molecule | str
"""A molecule, or a SMILES that may or may not be one."""


@dataclass(frozen=True)
class Reading:
    """What is known of one molecule; of one that RDKit refuses, `smiles` is None and `problem` says why.

    Attributes:
        smiles: canonical, without stereo; pieces: how many molecules it is in truth; radicals: unpaired electrons.
        bonds: "given", "perceived", "lengths" (see `kinds.molecules.perceiving`) or "smiles".
        stable: (stable atoms, atoms) by distances; valent: the same by the bonds that came with it; None: not known.
        properties: float64 [6], in the order of `PROPERTIES`; lengths: of bonds in angstrom by type, such as "C-H".
        strain: kcal/mol; unstrained: why there is none.
    """

    smiles: str | None = None
    problem: str = ""
    bonds: str = ""
    pieces: int = 0
    radicals: int = 0
    stable: tuple[int, int] | None = None
    valent: tuple[int, int] | None = None
    properties: np.ndarray | None = None
    lengths: dict[str, np.ndarray] = field(default_factory=dict)
    fingerprint: ExplicitBitVect | None = None
    strain: float | None = None
    unstrained: str = ""

    @property
    def connected(self) -> bool:
        """Whether it is a valid molecule in one piece."""
        return self.smiles is not None and self.pieces == 1

    @property
    def sound(self) -> bool:
        """Whether it is connected with no electron unpaired, and with stable atoms where these can be told."""
        counts = self.stable if self.valent is None else self.valent
        return self.connected and not self.radicals and (counts is None or counts[0] == counts[1])


def read(value: Value, *, strained: bool = False) -> Reading:
    """All that figures ask of a molecule; of its strain energy only where `strained`, which takes the longest.

    Raises:
        PerrinError: RDKit is not installed.
    """
    need_rdkit("judging molecules")
    molecule = None if isinstance(value, str) else value
    stable, valent = (None, None) if molecule is None else _stable(molecule)
    try:
        mol = rdkit_of(value)
    except PerrinError as error:
        return Reading(problem=_reason(str(error)), stable=stable, valent=valent)
    from rdkit import Chem, rdBase
    from rdkit.Chem import Descriptors, rdFingerprintGenerator

    with rdBase.BlockLogs():
        found = describe(mol, PROPERTIES)
        generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)
        radicals = int(Descriptors.NumRadicalElectrons(mol))
        pieces = len(Chem.GetMolFrags(mol))
        plain = Chem.RemoveHs(mol)
        ready = strained and molecule is not None and molecule.positions is not None and molecule.hydrogens
        energy = strain(mol) if ready and pieces == 1 and not radicals else None
        return Reading(
            smiles=str(Chem.MolToSmiles(plain, isomericSmiles=False)),
            bonds=mol.GetProp("bonds") if mol.HasProp("bonds") else "smiles",
            pieces=pieces,
            radicals=radicals,
            stable=stable,
            valent=valent,
            properties=np.array([found[name] for name in PROPERTIES]),
            lengths=_lengths(mol),
            fingerprint=generator.GetFingerprint(plain),
            strain=None if energy is None else energy.value,
            unstrained="" if energy is None else energy.problem,
        )


def read_all(
    values: Iterable[Value], every: int = 0, told: Callable[[int], None] = lambda _: None
) -> list[Reading]:
    """The readings of many, one molecule at a time; the strain of every so many-th only (0: of none).

    `told`: called with how many are done.
    """
    found = list[Reading]()
    for value in values:
        found.append(read(value, strained=every > 0 and len(found) % every == 0))
        told(len(found))
    return found


def rdkit_of(value: Value) -> Mol:
    """The sanitised molecule of RDKit; of a molecule with neither bonds nor positions, that of its SMILES.

    Raises:
        PerrinError: there is none, with RDKit's reason.
    """
    if isinstance(value, str):
        return parsed(value)
    if value.bonds is None and value.positions is None and value.smiles is not None:
        return parsed(value.smiles)
    return to_rdkit(value)


def _stable(molecule: Molecule) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(stable atoms, atoms) by distances and by given bonds; hydrogens that are no atoms leave both unknown."""
    if not molecule.hydrogens or "*" in molecule.elements or not len(molecule):
        return None, None
    numbers, charges = atomic_numbers(molecule.elements)[None], np.array(molecule.charges)[None]
    stable = valent = None
    if molecule.positions is not None:
        found = stability(numbers, molecule.positions[None], charges)
        stable = int(found.atoms.sum()), len(molecule)
    if molecule.bonds is not None:
        orders = np.zeros((1, len(molecule), len(molecule)), np.int64)
        for i, j, order in molecule.bonds:
            orders[0, i, j] = orders[0, j, i] = order
        valent = int(stability(numbers, None, charges, orders).atoms.sum()), len(molecule)
    return stable, valent


def _lengths(mol: Mol) -> dict[str, np.ndarray]:
    if not mol.GetNumConformers() or not mol.GetConformer().Is3D():
        return {}
    places = mol.GetConformer().GetPositions()
    found = defaultdict[str, list[float]](list)
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        ends = sorted((bond.GetBeginAtom().GetSymbol(), bond.GetEndAtom().GetSymbol()))
        name = _SIGNS.get(str(bond.GetBondType()), "-").join(ends)
        found[name].append(float(np.linalg.norm(places[i] - places[j])))
    return {name: np.array(lengths, np.float32) for name, lengths in found.items()}


def _reason(line: str) -> str:
    """A reason without the numbers and names of one molecule, so that equal ones can be counted."""
    said = line.partition("not sound: ")[2] or line.partition("does not parse: ")[2] or line
    return re.sub(r"\s*#?\s*\d+(,\s*\d+)*", " #", said).strip()
