"""SMILES as people keep them: one a line with a name behind it, or a column of a table."""

from __future__ import annotations

import csv
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.chemistry import from_smiles
from perrin.kinds.molecules.content import content, line_starts
from perrin.kinds.molecules.records import Record
from perrin.kinds.text.utf8 import MARK, decoded


@dataclass(frozen=True)
class SmilesLines:
    """A `.smi` file: a SMILES a line, and after white space its name."""

    path: Path
    data: bytes | mmap.mmap
    starts: np.ndarray
    stops: np.ndarray
    lines: np.ndarray
    files: Sequence[Path]
    hydrogens: bool

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> str:
        """The file and the line, counted from 1."""
        return f"{self.path.name} line {self.lines[index]}"

    def read(self, index: int) -> Record:
        """The molecule of the line."""
        line = self.data[self.starts[index] : self.stops[index]].removeprefix(MARK)
        smiles, *name = decoded(line, "the line").split(None, 1)
        return Record(from_smiles(smiles, hydrogens=self.hydrogens, name="".join(name).strip()), {})


def smiles_lines(path: Path, *, hydrogens: bool = False) -> SmilesLines:
    """The lines of a file that are neither blank nor a heading.

    Args:
        hydrogens: whether molecules have their hydrogens as atoms; without, an atom that lacks some has them again.

    Raises:
        PerrinError: no line in it.
    """
    data = content(path)
    edges = line_starts(data)
    starts, stops = edges[:-1], edges[1:]
    held = [bytes(data[a:b]).removeprefix(MARK).split() for a, b in zip(starts, stops, strict=True)]
    # a heading, which table programs write, is no molecule: no element begins with "sm"
    kept = np.array([bool(words) and not words[0].lower().startswith(b"smiles") for words in held], bool)
    if not kept.any():
        raise PerrinError(f"'{path}' holds no SMILES")
    return SmilesLines(path, data, starts[kept], stops[kept], np.flatnonzero(kept) + 1, [path], hydrogens)


@dataclass(frozen=True)
class SmilesTable:
    """A `.csv` file with a column of SMILES."""

    path: Path
    rows: Sequence[Sequence[str]]
    lines: Sequence[int]
    header: Sequence[str]
    column: int
    files: Sequence[Path]
    hydrogens: bool

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """The file and the line, counted from 1."""
        return f"{self.path.name} line {self.lines[index]}"

    def read(self, index: int) -> Record:
        """The molecule of the row, and its other columns."""
        row = self.rows[index]
        if len(row) != len(self.header):
            raise PerrinError(f"{len(row)} columns where the heading has {len(self.header)}")
        fields: Mapping[str, str] = dict(zip(self.header, row, strict=True))
        name = fields.get("name", fields.get("Name", ""))
        return Record(from_smiles(row[self.column].strip(), hydrogens=self.hydrogens, name=name), fields)


def smiles_table(path: Path, column: str, *, hydrogens: bool = False) -> SmilesTable:
    """The rows of a table with a heading; `hydrogens` as in `smiles_lines`.

    Raises:
        PerrinError: no such column, or no row.
    """
    text = decoded(bytes(content(path)).removeprefix(MARK), f"'{path}'")
    reader = csv.reader(text.splitlines(keepends=True))
    header = [name.strip() for name in next(reader, [])]
    if column not in header:
        near = next((name for name in header if name.lower() == column.lower()), None)
        if near is None:
            raise PerrinError(
                f"'{path}' has no column {column!r} but {', '.join(header)}; write smiles_column: NAME"
            )
        column = near
    rows, lines = [], []
    for row in reader:
        if row:
            rows.append(row)
            lines.append(reader.line_num)
    if not rows:
        raise PerrinError(f"'{path}' has no rows")
    return SmilesTable(path, rows, lines, header, header.index(column), [path], hydrogens)
