"""Conformers by distance geometry and a force field: what models are trained on, and where local structures come from.

Each is embedded by itself from a seed of its own, a hash of (seed, index), so that the conformer of an index is the same
however many are asked for. A stereo centre or double bond that a SMILES leaves open is decided by the first embedding
of a molecule and is the same in all its conformers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import smiles_of, to_rdkit
from perrin.kinds.molecules.embedding import embedded
from perrin.kinds.molecules.molecule import Molecule


def conformers(molecule: Molecule, seed: int, indices: Iterable[int]) -> list[Molecule]:
    """The molecule with positions, once for each index.

    Args:
        molecule: without positions; seed, indices: any whole numbers from 0.

    Raises:
        PerrinError: an unsound molecule, or one that distance geometry fails on.
    """
    definite = decided(molecule)
    return [embedded(definite, embedding_seed(seed, index)) for index in indices]


def decided(molecule: Molecule) -> Molecule:
    """The molecule with a SMILES that leaves no stereo open."""
    from rdkit import Chem

    found = Chem.FindPotentialStereo(to_rdkit(replace(molecule, positions=None)))
    if all(one.specified == Chem.StereoSpecified.Specified for one in found):
        return molecule
    smiles = smiles_of(embedded(replace(molecule, positions=None)))
    if smiles is None:
        raise PerrinError(f"{molecule.smiles or molecule.name!r} is not sound once it is embedded")
    return replace(molecule, smiles=smiles)


def embedding_seed(seed: int, index: int) -> int:
    """A seed for RDKit, whose own generator gives neighbouring seeds similar numbers."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0]) & 0x7FFFFFFF
