"""XYZ files: frames of elements and positions in angstrom.

3                                 the number of atoms
energy=-76.4 a comment            fields `key=value`, and whatever else
O  0.000  0.000  0.117            element (or atomic number), x, y, z; further columns are not read
...
"""

from __future__ import annotations

import mmap
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.molecules.content import content, line_starts
from perrin.kinds.molecules.elements import SYMBOLS, symbol_of
from perrin.kinds.molecules.molecule import Molecule
from perrin.kinds.molecules.records import Record
from perrin.kinds.text.utf8 import decoded
from perrin.registry import unknown


@dataclass(frozen=True)
class Frames:
    """The frames of an `.xyz` file."""

    path: Path
    data: bytes | mmap.mmap
    edges: np.ndarray
    first: np.ndarray  # the line of each frame's number of atoms, from 0
    counts: np.ndarray
    files: Sequence[Path]

    def __len__(self) -> int:
        return len(self.first)

    def name(self, index: int) -> str:
        """The file and the frame, counted from 1."""
        return self.path.name if len(self) == 1 else f"{self.path.name} frame {index + 1}"

    def read(self, index: int) -> Record:
        """The frame's atoms and the fields of its comment."""
        line, count = int(self.first[index]), int(self.counts[index])
        start, stop = self.edges[line + 1], self.edges[min(line + 2 + count, len(self.edges) - 1)]
        comment, *rows = decoded(self.data[start:stop], "the frame").split("\n")
        elements, positions = [], np.zeros((count, 3))
        for atom, row in enumerate(rows[:count]):
            words = row.split()
            try:
                positions[atom] = [float(word) for word in words[1:4]]
            except ValueError as error:
                raise PerrinError(
                    f"line {line + 3 + atom}: {row.strip()!r} is no element, x, y and z"
                ) from error
            elements.append(_element(words[0], line + 3 + atom))
        if not np.isfinite(positions).all():
            raise PerrinError(f"a position of the frame at line {line + 1} is not finite")
        fields = _fields(comment)
        return Record(_molecule(elements, positions, comment, fields), fields)


def _molecule(elements: list[str], positions: np.ndarray, comment: str, fields: dict[str, str]) -> Molecule:
    charges = tuple(int(word) for word in fields.get("charges", "").split(",") if word)
    plain = fields.get("name", comment.strip() if not fields else "")
    return Molecule(tuple(elements), charges, positions, smiles=fields.get("smiles"), name=plain)


def _element(word: str, line: int) -> str:
    symbol = symbol_of(int(word)) if word.isdigit() and 0 < int(word) <= len(SYMBOLS) else word.capitalize()
    if symbol not in SYMBOLS and symbol != "*":
        raise unknown(f"line {line}: element", word, SYMBOLS)
    return symbol


def _fields(comment: str) -> dict[str, str]:
    """The words `key=value` of a comment, where quotes may hold spaces."""
    try:
        words = shlex.split(comment, posix=True)
    except ValueError:
        words = comment.split()
    return dict(word.split("=", 1) for word in words if "=" in word and word[0] != "=")


def frames(path: Path) -> Frames:
    """Find the frames of a file.

    Raises:
        PerrinError: a line that should say how many atoms follow and does not, or a file that ends too early.
    """
    data = content(path)
    edges = line_starts(data)
    lines, at = len(edges) - 1, 0
    first, counts = [], []
    while at < lines:
        head = bytes(data[edges[at] : edges[at + 1]]).strip()
        if not head:  # blank lines may stand between frames
            at += 1
            continue
        if not head.isdigit() or int(head) == 0:
            raise PerrinError(
                f"'{path}' line {at + 1}: {head[:40].decode(errors='replace')!r} is no number of atoms, with which "
                "a frame begins"
            )
        count = int(head)
        if at + 2 + count > lines:
            raise PerrinError(
                f"'{path}' ends in the frame at line {at + 1}: it should have {count} atoms and has {lines - at - 2}"
            )
        first.append(at)
        counts.append(count)
        at += 2 + count
    if not first:
        raise PerrinError(f"'{path}' holds no frames")
    return Frames(path, data, edges, np.array(first), np.array(counts), [path])
