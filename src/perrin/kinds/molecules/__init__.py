r"""Molecules: SMILES, structure files and arrays to atoms in space, and back to files, drawings and pages.

dataset = Molecules.open("qm7_3d.npz", properties=["energy_kcal_mol"])
codec = Molecules.codec.fit(dataset)
batch = codec.encode([dataset[0]])        # state {"positions": [1, 23, 3], "atoms": [1, 23]}
"""

from __future__ import annotations

from perrin.kinds.molecules.codec import MoleculeCodec
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.opening import open_molecules
from perrin.kinds.molecules.saving import read_saved
from perrin.kinds.provenance import read_provenance

__all__ = ["Molecule", "MoleculeCodec", "Molecules", "open_molecules", "read_provenance"]


class Molecules:
    """Molecules in space: .sdf, .xyz, .npz, and .smi and .csv by embedding; atoms, charges and bonds as they are."""

    sources = ("path",)
    codec = MoleculeCodec
    open = staticmethod(open_molecules)
    read_saved = staticmethod(read_saved)
