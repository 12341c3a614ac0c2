"""Molecules as texts: SMILES in, SELFIES (or SMILES) symbols as tokens, SMILES, SDF and drawings out.

dataset = Smiles.open("zinc.smi.gz")
codec = Smiles.codec.fit(dataset)
batch = codec.encode([dataset[0]])        # state int64 [1, context]
"""

from __future__ import annotations

from perrin.kinds.molecules.saving import read_saved
from perrin.kinds.provenance import read_provenance
from perrin.kinds.smiles.codec import SmilesCodec
from perrin.kinds.smiles.opening import open_smiles

__all__ = ["Smiles", "SmilesCodec", "open_smiles", "read_provenance"]


class Smiles:
    """Molecules without coordinates: .smi and .csv files of SMILES; out as SMILES, tables, SDF and drawings."""

    sources = ("path",)
    codec = SmilesCodec
    open = staticmethod(open_smiles)
    read_saved = staticmethod(read_saved)
