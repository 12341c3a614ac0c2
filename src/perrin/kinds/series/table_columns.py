"""Columns of a table as numbers; those of words, of times and of counted rows are told apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.series.frequency import shown
from perrin.kinds.series.numerals import numbers
from perrin.kinds.series.request import Reading

if TYPE_CHECKING:
    import pandas as pd

COUNTERS = re.compile(r"unnamed: ?\d+|column \d+|index|idx|id|row|rows|no|nr|t|time|step|#", re.I)
"""Names of columns that may hold the rows' numbers."""
DATED = re.compile(r"\d{4}-\d\d(-\d\d)?|\d{1,2}[/.]\d{1,2}[/.](\d\d|\d{4})")
CODES = (-9, -99, -999, -9999, -99999, 999, 9999, 99999, 999999)
"""What some write for a missing value."""
SELDOM = 0.001
"""Share of the values of a column, up to which they are exceptions; so is a single one of more than 30."""


def counting(table: pd.DataFrame, columns: list[str], reading: Reading) -> list[str]:
    """The columns without those that number the rows, one after another, and are called so."""
    kept = []
    for name in columns:
        head = [str(cell) for cell in table[name].iloc[:2]]
        counts = (
            len(table) > 2 and COUNTERS.fullmatch(name) and all(re.fullmatch(r"\d+(\.0)?", c) for c in head)
        )
        if counts:
            first = int(float(head[0]))
            counts = [str(cell).removesuffix(".0") for cell in table[name]] == [
                str(first + i) for i in range(len(table))
            ]
        if counts:
            reading.left_out.append(name)
            reading.notes.append(f"column {name!r} was left out: it numbers the rows")
        else:
            kept.append(name)
    return kept


def far_from_the_rest(data: dict[str, np.ndarray], reading: Reading) -> None:
    """Note values that stand for missing ones elsewhere, where they lie far from all others."""
    for name, values in data.items():
        for code in CODES:
            count = int((values == code).sum())
            rest = values[(values != code) & ~np.isnan(values)]
            if count and len(rest) > 2 and np.abs(rest - code).min() > 2 * np.ptp(rest):
                reading.notes.append(
                    f"column {name!r} holds {code} in {count:,} rows, far from all others, and it is taken as a value; "
                    "leave those cells empty if it stands for nothing"
                )


def seldom_positive(data: dict[str, np.ndarray], times: np.ndarray | None, reading: Reading) -> None:
    """Note the few values that are not positive of columns that are otherwise: a logarithm does not take them."""
    for name, values in data.items():
        odd = np.flatnonzero(values <= 0)
        if 0 < len(odd) <= max(SELDOM * len(values), 1) and len(values) > 30:
            listed = few((f"{values[i]:g} {_at(times, int(i))}" for i in odd), 3)
            reading.notes.append(
                f"column {name!r} is positive but for {listed}: kept as it is; the transforms log and box_cox refuse it, "
                "asinh and difference take it"
            )


def _at(times: np.ndarray | None, row: int) -> str:
    return f"in row {row + 1:,}" if times is None else f"at {shown(times[row])} (row {row + 1:,})"


def read_columns(table: pd.DataFrame, columns: list[str], reading: Reading) -> dict[str, np.ndarray]:
    """Name -> float64 [rows] of columns that hold numbers.

    Raises:
        PerrinError: columns named by dates, of text or of times, unless they are to be left out; text or infinity among
            numbers, with rows.
    """
    found = {}
    dated = [column for column in columns if DATED.fullmatch(column)]
    if len(dated) > len(columns) / 2:
        raise PerrinError(
            f"the columns of '{reading.path}' are named by dates ({dated[0]}, ...): turn the table round, so that every "
            "row is a time"
        )
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
