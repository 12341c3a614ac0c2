r"""Conformers of given molecules: structure-data files or SMILES to torsion angles, and back.

dataset = Conformers.open("molecules.smi", embed=3)
codec = Conformers.codec.fit(dataset)
batch = codec.encode([dataset[0]])        # state {"torsions": [1, M]}, and the molecule as the condition
"""

from __future__ import annotations

from perrin.kinds.conformers.codec import ConformerCodec
from perrin.kinds.conformers.ensemble import Ensemble
from perrin.kinds.conformers.opening import open_conformers
from perrin.kinds.molecules.saving import read_saved
from perrin.kinds.provenance import read_provenance

__all__ = ["ConformerCodec", "Conformers", "Ensemble", "open_conformers", "read_provenance"]


class Conformers:
    """Molecules with conformers."""

    sources = ("path",)
    codec = ConformerCodec
    open = staticmethod(open_conformers)
    read_saved = staticmethod(read_saved)
