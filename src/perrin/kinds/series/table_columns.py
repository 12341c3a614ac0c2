"""Columns of a table as numbers; those of words and of times are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.series.numerals import numbers
from perrin.kinds.series.request import Reading

if TYPE_CHECKING:
    import pandas as pd


def read_columns(table: pd.DataFrame, columns: list[str], reading: Reading) -> dict[str, np.ndarray]:
    """Name -> float64 [rows] of columns that hold numbers.

    Raises:
        PerrinError: columns of text or times, unless they are to be left out; text or infinity among numbers, with rows.
    """
    found = {}
    for column in columns:
        cells = table[column]
        if cells.dtype.kind == "M":
            reading.decide(column, "holds times, not numbers")
            continue
        read = numbers(list(cells) if cells.dtype.kind == "O" else cells.to_numpy(), column, reading.decimal)
        filled = int((~np.isnan(read.values)).sum()) + len(read.bad)
        if read.bad and len(read.bad) > 0.5 * filled:
            reading.decide(
                column, f"holds text, such as {str(cells.iloc[read.bad[0]])!r} in row {read.bad[0] + 1}"
            )
            continue
        endless = np.flatnonzero(np.isinf(read.values)).tolist()
        if read.bad or endless:
            rows = few((f"row {i + 1} {str(cells.iloc[i])!r}" for i in sorted([*read.bad, *endless])), 3)
            raise PerrinError(
                f"column {column!r} of '{reading.path}' holds numbers, but not in {rows}; repair them or leave them empty"
            )
        if read.note:
            reading.notes.append(read.note)
        found[column] = read.values
    return found


def wordy(cells: pd.Series) -> bool:
    """Whether a column is of words: none of its first cells is a number."""
    if cells.dtype.kind in "biufM":
        return False
    head = [cell for cell in cells.iloc[:50] if str(cell).strip()]
    try:
        return bool(head) and len(numbers(head, "").bad) == len(head)
    except PerrinError:
        return False
