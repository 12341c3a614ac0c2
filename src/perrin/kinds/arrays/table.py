"""A `.csv` or `.csv.gz` file to a float64 table, its labels and its bad cells.

The first line is a header when none of its cells is a number. A cell that is empty or no number becomes NaN
and is reported with its line and column, so that whoever opens the file decides about the row.
"""

from __future__ import annotations

import array
import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perrin.errors import PerrinError
from perrin.registry import unknown


@dataclass
class Table:
    """`values` float64 [n, D] of `columns`; `labels` as written; `lines`: line in the file of each row.

    `text`: row -> reason, for rows with a cell that is not a number.
    """

    columns: list[str]
    values: np.ndarray
    labels: list[str | None] | None
    lines: list[int]
    text: dict[int, str] = field(default_factory=dict)


def read_table(
    path: Path, columns: Sequence[str] | None = None, label: str | None = None, header: bool | None = None
) -> Table:
    """Read a csv file.

    Args:
        columns: the ones to read, in this order; default: all but the label.
        label: the column of labels; default: `label` where there is one.
        header: whether the first line names the columns; default: when none of its cells is a number. Without
            a header the columns are called "0", "1", ...

    Raises:
        PerrinError: not readable, lines of different lengths, no such column, a column without any number.
    """
    rows = _rows(path)
    try:
        first_line, first = next(rows)
    except StopIteration:
        raise PerrinError(f"'{path}' is empty") from None
    named = header if header is not None else not any(_is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if named else [str(i) for i in range(len(first))]
    label = _known(label, names, path) if label is not None else ("label" if "label" in names else None)
    wanted = (
        [_known(name, names, path) for name in columns]
        if columns
        else [name for name in names if name != label]
    )
    if not wanted:
        raise PerrinError(f"'{path}' has no column of values beside {label!r}")
    picks = [names.index(name) for name in wanted]
    at = names.index(label) if label is not None else None
    read = _Reader(path, wanted, picks, at)
    if not named:
        read.add(first_line, first)
    for line, cells in rows:
        if len(cells) != len(names):
            raise PerrinError(f"'{path}' line {line} has {len(cells)} cells, the first line has {len(names)}")
        read.add(line, cells)
    return read.table()


class _Reader:
    """Collects rows: a flat array of doubles, since a list of floats takes four times the memory."""

    def __init__(self, path: Path, wanted: list[str], picks: list[int], label: int | None) -> None:
        self.path, self.wanted, self.picks, self.at = path, wanted, picks, label
        self.values = array.array("d")
        self.labels: list[str | None] = []
        self.lines: list[int] = []
        self.text: dict[int, str] = {}
        self.bad: Counter[str] = Counter()

    def add(self, line: int, cells: list[str]) -> None:
        for name, pick in zip(self.wanted, self.picks, strict=True):
            cell = cells[pick]
            try:
                self.values.append(float(cell))
            except ValueError:
                self.values.append(float("nan"))
                self.bad[name] += 1
                self.text.setdefault(len(self.lines), f"line {line} column {name!r} holds {cell.strip()!r}")
        if self.at is not None:
            self.labels.append(cells[self.at].strip() or None)
        self.lines.append(line)

    def table(self) -> Table:
        count = len(self.lines)
        if not count:
            raise PerrinError(f"'{self.path}' has no rows")
        textual = [name for name in self.wanted if self.bad[name] == count]
        if textual:
            rest = [name for name in self.wanted if name not in textual]
            raise PerrinError(
                f"column {textual[0]!r} of '{self.path}' holds no numbers ({self.text[0]}); "
                f"write columns: [{', '.join(rest)}]" + (", or a header: true" if count == 1 else "")
            )
        values = np.frombuffer(self.values, np.float64).reshape(count, len(self.wanted))
        return Table(self.wanted, values, self.labels if self.at is not None else None, self.lines, self.text)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise PerrinError(f"cannot read '{path}': {error}") from error


def _known(name: str | int, names: list[str], path: Path) -> str:
    if str(name) not in names:
        raise unknown(f"column of '{path}'", name, names)
    return str(name)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
