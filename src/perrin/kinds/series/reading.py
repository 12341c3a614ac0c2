"""A table as it is written: the cells of a CSV file (plain or gzip) as texts, or the columns of a parquet file."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from perrin.errors import PerrinError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t|"
FIRST_ROW = 2
"""The line of the first row of a CSV file, below its header."""


def need_pandas() -> None:
    """Refuse where the library is not installed."""
    if find_spec("pandas") is None:
        raise PerrinError("time series need pandas: pip install 'perrin[series]'")


def read_table(path: Path) -> pd.DataFrame:
    """All columns of a file: texts (stripped, "" for nothing) of a CSV file, types of parquet as they are.

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
        table = _csv(path)
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


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    text = _text(path)
    lines = [cells for cells in csv.reader(io.StringIO(text), delimiter=_separator(text)) if cells]
    if not lines:
        raise PerrinError(f"'{path}' is empty")
    header = [cell.strip() for cell in lines[0]]
    names = [name or f"column {i + 1}" for i, name in enumerate(header)]
    for name in names:
        if names.count(name) > 1:
            raise PerrinError(
                f"'{path}' has {names.count(name)} columns called {name!r}; give each a name of its own"
            )
    if len(names) > 1 and all(_is_number(cell) for cell in header):
        raise PerrinError(
            f"the first line of '{path}' holds numbers ({', '.join(header[:3])}, ...) where the columns' names should "
            "be; add a header line"
        )
    for number, cells in enumerate(lines[1:], FIRST_ROW):
        if len(cells) != len(names):
            raise PerrinError(f"'{path}' line {number} has {len(cells)} cells, its header {len(names)}")
    columns = zip(*lines[1:], strict=True) if len(lines) > 1 else [() for _ in names]
    return pd.DataFrame(
        {n: [cell.strip() for cell in c] for n, c in zip(names, columns, strict=True)}, dtype=object
    )


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise PerrinError(
            f"'{path}' is not in UTF-8 (byte {error.start}); save it in that encoding"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise PerrinError(f"cannot read '{path}': {error}") from error


def _separator(text: str) -> str:
    """The one that the header has most of; commas where it has none."""
    header = text.lstrip("\n").split("\n", 1)[0]
    return max(SEPARATORS, key=header.count)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
