"""A table as it is written: the cells of a CSV file (plain or gzip) as texts, or the columns of a parquet file."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from perrin.errors import PerrinError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t|"


def need_pandas() -> None:
    """Refuse where the library is not installed."""
    if find_spec("pandas") is None:
        raise PerrinError("time series need pandas: pip install 'perrin[series]'")


def read_table(path: Path, notes: list[str] | None = None) -> pd.DataFrame:
    """All columns of a file: texts (stripped, "" for nothing) of a CSV file, types of parquet as they are.

    Args:
        notes: what was left out or understood without being said is added to it.

    Raises:
        PerrinError: no file, another kind of file, no header, lines of different lengths, no rows.
    """
    need_pandas()
    if not path.is_file():
        raise PerrinError(f"no file '{path}'; time series are .csv, .csv.gz, .tsv or .parquet files")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        table = _parquet(path)
    elif name.endswith((".csv", ".tsv", ".txt")):
        table = _csv(path, [] if notes is None else notes)
    else:
        raise PerrinError(f"'{path}' is no table of time series; write .csv, .csv.gz, .tsv or .parquet")
    if not len(table):
        raise PerrinError(f"'{path}' has no rows below its header")
    return table


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    if find_spec("pyarrow") is None:
        raise PerrinError(f"reading '{path}' needs pyarrow: pip install 'perrin[parquet]'")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise PerrinError(f"cannot read '{path}' as parquet: {str(error).splitlines()[0]}") from error
    if isinstance(table.index, pd.DatetimeIndex):
        table = table.reset_index(names=table.index.name or "time")
    table.columns = [str(c) for c in table.columns]
    return table


def _csv(path: Path, notes: list[str]) -> pd.DataFrame:
    import pandas as pd

    rows = _rows(_text(path, notes), path, notes)
    header = [cell.strip() for cell in rows[0][1]]
    names = [name or f"column {i + 1}" for i, name in enumerate(header)]
    for name in names:
        if names.count(name) > 1:
            raise PerrinError(
                f"'{path}' has {names.count(name)} columns called {name!r}; give each a name of its own"
            )
    if len(names) > 1 and all(_is_datum(cell) for cell in header):
        raise PerrinError(
            f"the first line of '{path}' holds numbers or dates ({', '.join(header[:3])}, ...) where the columns' names "
            "should be; add a header line"
        )
    if len(names) == 1 and " " in names[0] and all(" " in cells[0].strip() for _, cells in rows[1:]):
        raise PerrinError(
            f"'{path}' has one column, {names[0]!r}, with blanks in all cells; separate columns by commas or tabs"
        )
    body = []
    for number, cells in rows[1:]:
        if len(cells) > len(names) and not any(cell.strip() for cell in cells[len(names) :]):
            cells = cells[: len(names)]  # a separator at the end of the line
        if len(cells) != len(names):
            raise PerrinError(f"'{path}' line {number} has {len(cells)} cells, its header {len(names)}")
        body.append(cells)
    columns = zip(*body, strict=True) if body else [() for _ in names]
    table = {n: [cell.strip() for cell in c] for n, c in zip(names, columns, strict=True)}
    for i, (name, said) in enumerate(zip(names, header, strict=True)):
        if body and (not said or re.fullmatch(r"Unnamed: \d+", said)) and not any(table[name]):
            notes.append(f"column {i + 1}, without a name and empty, was left out")
            del table[name]
    return pd.DataFrame(table, dtype=object)


def _rows(text: str, path: Path, notes: list[str]) -> list[tuple[int, list[str]]]:
    """(number of the line, cells) of the header and the rows; titles above, remarks and empty rows are left out."""
    lines = text.splitlines(keepends=True)
    skipped = 0
    separator = ""
    if lines and (said := re.fullmatch(r'"?sep=(.)"?', lines[0].strip())):
        separator, skipped = said[1], 1
    while skipped < len(lines) and lines[skipped].startswith("#"):
        skipped += 1
    separator = separator or _separator(lines[skipped:])
    read = csv.reader(io.StringIO("".join(lines[skipped:])), delimiter=separator)
    rows = [(skipped + read.line_num, cells) for cells in read if cells]
    # a line of which the first cell alone says something
    title = next((i for i, (_, cells) in enumerate(rows) if not cells[0].strip() or any(cells[1:])), 0)
    if title and len(rows) > title + 1:
        notes.append(f"{title} lines above the header were left out: {rows[0][1][0].strip()!r}")
        rows = rows[title:]
    full = [row for row in rows if any(cell.strip() for cell in row[1])]
    if not full:
        raise PerrinError(f"'{path}' is empty")
    if len(full) < len(rows):
        notes.append(f"{len(rows) - len(full):,} empty rows were left out")
    return full


def _text(path: Path, notes: list[str]) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in raw or not set(raw) & set(b",;\t|\n"):
            raise PerrinError(f"'{path}' is no text (byte {error.start}); save it as CSV in UTF-8") from error
        notes.append(f"not in UTF-8 (byte {error.start}): read as Windows-1252")
        return raw.decode("cp1252", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise PerrinError(f"cannot read '{path}': {error}") from error


def _separator(lines: list[str]) -> str:
    """The one that the header has most of: the first line that has any; commas where none has."""
    for line in lines[:20]:
        best = max(SEPARATORS, key=line.count)
        if best in line:
            return best
    return SEPARATORS[0]


def _is_datum(cell: str) -> bool:
    """Whether a cell is a number or a date, and so no name."""
    if re.fullmatch(r"\d{4}[-/.]\d\d?[-/.]\d\d?.*|\d\d?[-/.]\d\d?[-/.]\d{2,4}.*", cell):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True
