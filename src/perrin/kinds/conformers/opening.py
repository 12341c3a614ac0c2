"""A path to a dataset of molecules with conformers: structure-data files, or SMILES that are embedded.

In an `.sdf` the records of one molecule follow one another, its atoms in one order. A file of SMILES is embedded once,
and the conformers are kept in the cache.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.conformers.ensemble import Ensemble
from perrin.kinds.conformers.grouping import grouped
from perrin.kinds.conformers.making import made_file
from perrin.kinds.files import few
from perrin.kinds.molecules.content import inner_suffix
from perrin.kinds.molecules.sdf import structure_data
from perrin.kinds.selection import Selection

Broken = Literal["refuse", "skip"]


@dataclass(frozen=True)
class Ensembles:
    """Molecules and their conformers, in memory (`selection.Source`)."""

    held: list[Ensemble]
    names: list[str]

    labels = None
    classes = None

    def __len__(self) -> int:
        return len(self.held)

    def read(self, index: int) -> Ensemble:
        """The molecule and its conformers."""
        return self.held[index]

    def name(self, index: int) -> str:
        """Its title in the file, or the record that it begins with."""
        return self.names[index]


def open_conformers(
    path: str | Path, *, embed: int = 0, limit: int | None = None, broken: Broken = "refuse"
) -> Selection:
    """Open conformers by their path.

    Args:
        path: `.sdf` (or `.sdf.gz`) with positions; or `.smi` (`.smi.gz`) with `embed`.
        embed: how many conformers of each SMILES to make by ETKDG and MMFF, about a twentieth of a CPU-second each.
        limit: the first so many SMILES of a file of them.
        broken: what to do about records that cannot be read or are flat: "refuse" lists them, "skip" leaves them out.

    Raises:
        PerrinError: nothing there, SMILES without `embed`, flat structures, molecules that cannot be embedded.
    """
    path = Path(path)
    if broken not in ("refuse", "skip"):
        raise PerrinError(f"broken: {broken!r} is not known; write 'refuse' or 'skip'")
    if not path.is_file():
        raise PerrinError(f"no file '{path}'; conformers are an .sdf file, or SMILES (.smi) with embed: 3")
    facts: dict[str, Any] = {"kind": "conformers", "path": str(path)}
    flat = inner_suffix(path) != ".sdf"
    if flat and embed < 1:
        raise PerrinError(f"'{path}' holds no conformers; make some of each molecule with embed: 3")
    if not flat and (embed or limit is not None):
        raise PerrinError(f"'{path}' holds conformers; embed and limit are for a file of SMILES")
    refused = list[str]()
    if flat:
        facts |= {"embed": embed, "limit": limit}
        path, refused = made_file(path, embed, limit)
    records = structure_data(path)
    held, names, bad = grouped(records)
    refused += bad
    if refused and (broken == "refuse" or not held):
        raise PerrinError(
            f"{len(refused):,} molecules of '{facts['path']}' are broken: {few(refused, 3)}; repair them, or leave "
            "them out with broken: skip"
        )
    facts |= {
        "sha256": hashlib.sha256(records.data).hexdigest(),
        "conformers": sum(len(e.positions) for e in held),
    }
    return Selection(Ensembles(held, names), np.arange(len(held)), facts, refused)
