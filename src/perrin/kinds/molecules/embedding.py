"""Positions for molecules that have none: distance geometry, then a force field.

ETKDG (Riniker and Landrum 2015, doi:10.1021/acs.jcim.5b00654; version 3) with a fixed seed, relaxed by MMFF94 (Halgren
1996), or by UFF where MMFF has no parameters.
"""

from __future__ import annotations

from dataclasses import replace

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import to_rdkit
from perrin.kinds.molecules.library import need_rdkit
from perrin.kinds.molecules.molecule import Molecule

SEED = 20_150
RELAXING = 500  # iterations of the force field
METHOD = f"ETKDGv3 seed {SEED}, MMFF94 {RELAXING}"  # what positions that are kept depend on


def embedded(molecule: Molecule, seed: int = SEED) -> Molecule:
    """The molecule with positions, a function of it and of the seed.

    Raises:
        PerrinError: an unsound molecule, or one that no places can be found for.
    """
    need_rdkit("giving molecules positions")
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    with rdBase.BlockLogs():
        mol = to_rdkit(molecule)
        full = mol if molecule.hydrogens else Chem.AddHs(mol)
        full.RemoveAllConformers()
        how = rdDistGeom.ETKDGv3()
        how.randomSeed = seed
        if rdDistGeom.EmbedMolecule(full, how) != 0:
            how.useRandomCoords = True  # slower, for large rings and cages
            if rdDistGeom.EmbedMolecule(full, how) != 0:
                raise PerrinError(f"no positions can be found for {molecule.smiles or molecule.name!r}")
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full):
            rdForceFieldHelpers.MMFFOptimizeMolecule(full, maxIters=RELAXING)
        elif rdForceFieldHelpers.UFFHasAllMoleculeParams(full):
            rdForceFieldHelpers.UFFOptimizeMolecule(full, maxIters=RELAXING)
    return replace(molecule, positions=full.GetConformer().GetPositions()[: len(molecule)])
