"""Documents in tables: a key of the lines of a file of JSON objects, or a column of parquet, with labels beside.

Each is a `selection.Source` whose items are `str`.
"""

from __future__ import annotations

import json
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.labels import index_labels
from perrin.kinds.parquet import ParquetRows
from perrin.kinds.text.documents import mapped
from perrin.kinds.text.utf8 import MARK, decoded, refuse_other_marks, unix


@dataclass(frozen=True)
class JsonLines:
    """The values of one key in the lines of a file of JSON objects."""

    path: Path
    content: bytes | mmap.mmap
    starts: np.ndarray
    stops: np.ndarray
    lines: np.ndarray
    column: str
    labels: np.ndarray | None
    classes: list[str] | None

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> str:
        """The file and the line, counted from 1."""
        return f"{self.path.name} line {self.lines[index]}"

    def read(self, index: int) -> str:
        """The text of the line."""
        row = json_object(self.content[self.starts[index] : self.stops[index]])
        if self.column not in row:
            raise PerrinError(f"no {self.column!r} but {', '.join(row)}")
        return as_text(row[self.column], self.column)


def json_lines(path: Path, column: str, label_column: str | None, labels: bool) -> JsonLines:
    """The lines of a `.jsonl` file that are not blank; what is wrong with one shows when it is read.

    Args:
        label_column: default `label` where the first line has it.

    Raises:
        PerrinError: no line, or a key that the first good line does not have.
    """
    content = mapped(path)
    refuse_other_marks(content[:4], f"'{path}'")
    breaks = np.flatnonzero(np.frombuffer(content, np.uint8) == ord("\n"))
    starts, stops = np.r_[0, breaks + 1], np.r_[breaks, len(content)]
    kept = np.array(
        [bool(content[a:b].removeprefix(MARK).strip()) for a, b in zip(starts, stops, strict=True)]
    )
    lines = np.flatnonzero(kept) + 1
    if not len(lines):
        raise PerrinError(f"'{path}' holds no lines")
    source = JsonLines(path, content, starts[kept], stops[kept], lines, column, None, None)
    rows = (_row(source, i) for i in range(len(source)))
    first = next((row for row in rows if row is not None), {column: ""})
    for option, key in (("column", column), ("label_column", label_column)):
        if key is not None and key not in first:
            raise PerrinError(f"'{path}' has no key {key!r} but {', '.join(first)}; write {option}: NAME")
    label_key = label_column or ("label" if "label" in first else None)
    if not labels or label_key is None:
        return source
    raw = [(_row(source, i) or {}).get(label_key) for i in range(len(source))]
    return JsonLines(
        path,
        content,
        starts[kept],
        stops[kept],
        lines,
        column,
        *index_labels(raw, f"{label_key!r} of '{path}'"),
    )


def _row(source: JsonLines, index: int) -> dict[str, Any] | None:
    try:
        return json_object(source.content[source.starts[index] : source.stops[index]])
    except PerrinError:
        return None


def json_object(line: bytes) -> dict[str, Any]:
    """The object of a line.

    Raises:
        PerrinError: what is wrong with it.
    """
    try:
        row = json.loads(decoded(line, "the line"))
    except json.JSONDecodeError as error:
        raise PerrinError(f"not JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(row, dict):
        raise PerrinError(f"a {type(row).__name__}, not an object {{...}}")
    return row


@dataclass(frozen=True)
class ParquetTexts(ParquetRows):
    """The strings of a column."""

    def read(self, index: int) -> str:
        """The text of the row."""
        return as_text(self.cell(index), "the row")


def as_text(value: Any, key: str) -> str:
    """A string as a document.

    Raises:
        PerrinError: another type, or half of a surrogate pair in it.
    """
    if not isinstance(value, str):
        raise PerrinError(f"{key} is {type(value).__name__}, not a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PerrinError(f"half of a character (a lone surrogate) at position {error.start:,}") from error
    return unix(value)
