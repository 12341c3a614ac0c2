"""The times of a table's rows: of one column, or of several that make one, such as a date and an hour."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.series.numerals import MISSING, numbers
from perrin.kinds.series.request import Reading
from perrin.kinds.series.time_column import time_column
from perrin.kinds.series.time_texts import CLOCK
from perrin.kinds.series.timestamps import parse_times

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("year", "month", "day")
CLOCKS = {"hour", "hr", "time", "clock", "uhrzeit", "heure", "hora", "ora"}


def times_of(table: pd.DataFrame, reading: Reading) -> tuple[pd.DataFrame, np.ndarray | None, list[str]]:
    """(table, times [rows], names of the columns that they were made of); times are None for a table without.

    A first row of units ("MW"), which has no time and no number, is left out of the table.

    Raises:
        PerrinError: no such column, texts that are no times, rows without a time.
    """
    table = _without_units(table, reading)
    column = reading.time or _several(table) or time_column(table, None, reading.path)
    if column is None:
        reading.notes.append("no column of times: rows are numbered in the order of the file")
        return table, None, []
    time_column(table, column, reading.path)
    used = column.split("+") if column not in table.columns else [column]
    if len(used) > 1 and not reading.time:
        reading.notes.append(f"times are made of the columns {', '.join(used)}")
    found = parse_times(_together(table, used), column, reading.day_first)
    if found.note:
        reading.notes.append(found.note)
    missing = np.flatnonzero(np.isnat(found.values))
    if len(missing):
        rows = few((f"row {i + 1}" for i in missing), 5)
        raise PerrinError(
            f"column {column!r} of '{reading.path}' has no time in {len(missing):,} rows: {rows}; write it there, or "
            "leave the rows out"
        )
    return table, found.values, used


def _together(table: pd.DataFrame, used: list[str]) -> pd.Series:
    """Cells of several columns as one text each: 2020-1-31, or a date and a clock."""
    cells = table[used[0]]
    dates = [re.sub(r"[^a-z]", "", name.lower()) for name in used] == list(PARTS[: len(used)])
    for other in used[1:]:
        cells = cells.astype(str) + ("-" if dates else " ") + table[other].astype(str).str.zfill(2)
    return cells


def _several(table: pd.DataFrame) -> str | None:
    """Columns that make times together where one alone repeats: year, month and day, or a date and its clock."""
    named = {re.sub(r"[^a-z]", "", str(name).lower()): str(name) for name in table.columns}
    for size in (3, 2):
        parts = [named[p] for p in PARTS[:size] if p in named]
        if len(parts) == size and all(_whole(table[p]) for p in parts) and _repeats(table, parts[:1]):
            return "+".join(parts)
    date = named.get("date") or named.get("day") or named.get("datum")
    clock = next((name for key, name in named.items() if key in CLOCKS and name != date), None)
    if date and clock and not _whole(table[date]) and _clocks(table[clock]) and _repeats(table, [date]):
        texts = table[date].astype(str)
        if not texts.str.contains(r"\d:\d\d").any():
            return f"{date}+{clock}"
    return None


def _repeats(table: pd.DataFrame, columns: list[str]) -> bool:
    return bool(table.duplicated(columns).any())


def _whole(cells: pd.Series) -> bool:
    return bool(cells.astype(str).str.fullmatch(r"\d{1,4}(\.0)?").all())


def _clocks(cells: pd.Series) -> bool:
    return bool(cells.astype(str).str.fullmatch(rf"(?i)[01]?\d|2[0-4]|{CLOCK}( ?[ap]m)?").all())


def _without_units(table: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    if len(table) < 3 or any(dtype.kind != "O" for dtype in table.dtypes):
        return table
    first = [str(cell) for cell in table.iloc[0]]
    said = [cell for cell in first if cell]
    below = [str(cell) for cell in table.iloc[1]]
    try:
        none = all(numbers([cell], "").bad for cell in said)
        few_below = sum(bool(cell) and not numbers([cell], "").bad for cell in below)
    except PerrinError:  # a comma that may mean two things: a number
        return table
    if not none or not said or len(said) == len(first) or not few_below or first[0] or {*said} & MISSING:
        return table
    reading.notes.append(f"the first row was left out: it holds units ({few(said, 3)})")
    return table.iloc[1:].reset_index(drop=True)
