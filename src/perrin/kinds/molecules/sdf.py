"""Structure-data files (MDL, CTfile formats): molecules with positions, charges, bonds and fields, read by RDKit.

A record ends with a line `$$$$`. Where each begins is found once, so that any is read without those before it.
"""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import from_rdkit
from perrin.kinds.molecules.content import content
from perrin.kinds.molecules.library import need_rdkit, overheard, reason
from perrin.kinds.molecules.records import Record

_END = re.compile(rb"(?m)^\$\$\$\$[ \t\r]*(?:\n|\Z)")


@dataclass(frozen=True)
class StructureData:
    """The records of an `.sdf` file, with the stereo of positions or wedges; one that is not sound is read as it is."""

    path: Path
    data: bytes | mmap.mmap
    starts: np.ndarray
    stops: np.ndarray
    files: Sequence[Path]

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> str:
        """The file and the record, counted from 1."""
        return self.path.name if len(self) == 1 else f"{self.path.name} record {index + 1}"

    def read(self, index: int) -> Record:
        """The molecule of a record and its fields."""
        from rdkit import Chem

        record = bytes(self.data[self.starts[index] : self.stops[index]])
        if not record.rstrip().endswith(b"$$$$"):
            record = record.rstrip(b"\r\n") + b"\n$$$$\n"
        with overheard() as said:
            supplier = Chem.ForwardSDMolSupplier(io.BytesIO(record), sanitize=False)
            mol = next(supplier, None)
        if mol is None:
            raise PerrinError(f"not a structure that RDKit reads: {reason(said)}")
        if not mol.GetNumAtoms():
            raise PerrinError("a structure without atoms")
        name = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
        fields = {key: mol.GetProp(key) for key in mol.GetPropNames()}
        return Record(from_rdkit(mol, name=name), fields)


def structure_data(path: Path) -> StructureData:
    """The records of a file.

    Raises:
        PerrinError: no record.
    """
    need_rdkit(f"reading '{path}'")
    data = content(path)
    stops = [found.end() for found in _END.finditer(data)]
    if bytes(data[stops[-1] if stops else 0 :]).strip():
        stops.append(len(data))  # the last may lack its end, and a .mol file has none
    if not stops:
        raise PerrinError(f"'{path}' holds no structures")
    return StructureData(path, data, np.array([0, *stops[:-1]]), np.array(stops), [path])
