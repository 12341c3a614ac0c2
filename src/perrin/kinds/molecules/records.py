"""What every file of molecules is to the rooms above: records by index, a molecule each and the fields beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from perrin.kinds.molecules.molecule import Molecule


class Record(NamedTuple):
    """A molecule as the file has it, and what else the file says of it."""

    molecule: Molecule
    fields: Mapping[str, str | float]


class Records(Protocol):
    """The records of a file. `read` raises PerrinError for one that is broken, with what is wrong."""

    @property
    def files(self) -> Sequence[Path]:
        """What is read, for the cache's keys."""
        ...

    def __len__(self) -> int: ...
    def read(self, index: int) -> Record: ...
    def name(self, index: int) -> str: ...


@dataclass(frozen=True)
class Joined:
    """The records of several files, one file after another."""

    parts: Sequence[Records]
    folders: Sequence[str]  # of each file, below the one that was opened: "" or "a/b/"
    files: Sequence[Path] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", [file for part in self.parts for file in part.files])

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _place(self, index: int) -> tuple[int, int]:
        part = int(np.searchsorted(self._starts, index, "right")) - 1
        return part, index - int(self._starts[part])

    def read(self, index: int) -> Record:
        """The record of one of the files."""
        part, at = self._place(index)
        return self.parts[part].read(at)

    def name(self, index: int) -> str:
        """As its file names it, with the folder before it."""
        part, at = self._place(index)
        return self.folders[part] + self.parts[part].name(at)
