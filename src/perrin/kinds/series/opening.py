"""A path to a dataset of time series: a table with a column of times, wide (a column each) or long (a row each)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.labels import index_labels
from perrin.kinds.series.frequency import Frequency
from perrin.kinds.series.numerals import Decimal
from perrin.kinds.series.panels import alone, described_parts, joined, parted, usable
from perrin.kinds.series.parts import Part, SeriesData
from perrin.kinds.series.reading import read_table
from perrin.kinds.series.request import Order, Reading, Unusable
from perrin.kinds.series.table_columns import (
    counting,
    far_from_the_rest,
    read_columns,
    seldom_positive,
    wordy,
)
from perrin.kinds.series.table_times import times_of
from perrin.registry import unknown

if TYPE_CHECKING:
    import pandas as pd


def open_series(
    path: str | Path,
    *,
    time: str | None = None,
    columns: list[str] | None = None,
    series: str | None = None,
    value: str | None = None,
    covariates: list[str] | None = None,
    static: list[str] | None = None,
    label: str | None = None,
    joint: bool = True,
    day_first: bool | None = None,
    decimal: Decimal | None = None,
    frequency: str | None = None,
    order: Order = "refuse",
    unusable: Unusable = "refuse",
) -> SeriesData:
    """Open a table of time series. What is understood without being said is in `description["notes"]`.

    Args:
        path: `.csv`, `.csv.gz`, `.tsv` or `.parquet`.
        time: the column of times, or "date+hour" for two that make one; found by default, none for rows in order.
        columns: the columns of values; default: all that are nothing else.
        series: of a long table, the column that says which series a row is of; found by default where times repeat.
        value: of a long table, its column of values (the same as one `columns`).
        covariates: columns that are known for the future too, which a model is told. static: of a long table, columns
            that say something of a series as a whole, numbers or words; label: the one that is its class.
        joint: of a wide table, take its columns as one series of several; or as series of their own (false). Series of
            a long table that have one column and the same times are joined too where there is no static or label.
        day_first, decimal: how to read "03/04/2020" and "1,234" where the file leaves it open.
        frequency: average the rows on a grid of this step ("h", "D", "W", "MS", "15min").
        order: "sort" sorts rows that are not in the order of time. unusable: "leave_out" leaves out columns of text,
            of one value or of none.

    Raises:
        PerrinError: no such file or column, times or numbers that cannot be read or read in two ways, duplicate or
            unsorted times, mixed frequencies, columns of text, constant or empty ones: each with its rows.
    """
    reading = Reading(Path(path), time, day_first, decimal, unusable, order, frequency)
    for name, given, options in (
        ("order", order, ("refuse", "sort")),
        ("unusable", unusable, ("refuse", "leave_out")),
    ):
        if given not in options:
            raise unknown(name, given, options)
    table = read_table(reading.path, reading.notes)
    table, times, used = times_of(table, reading)
    for name in [
        *(columns or []),
        *(covariates or []),
        *(static or []),
        *([n for n in (series, value, label) if n]),
    ]:
        if name not in table.columns:
            raise unknown(f"column of '{path}'", name, list(table.columns))
    series = series or _series_column(table, times, used, columns)
    told = [*(covariates or []), *(static or []), *([label] if label else [])]
    if series and label is None and "label" in table.columns and columns is None:
        label = "label"
        told.append(label)
    own = [value] if value else columns or [c for c in table.columns if c not in (*used, *told, series)]
    if not (value or columns):
        own = counting(table, own, reading)
    data = read_columns(table, own, reading)
    far_from_the_rest(data, reading)
    seldom_positive(data, times, reading)
    if not data:
        raise PerrinError(
            f"'{path}' has no column of numbers beside {', '.join([*used, *told]) or 'nothing'}"
        )
    extra = read_columns(table, covariates or [], reading)
    parts, common = parted(table, series, times, data, extra, reading)
    parts, labels = described_parts(parts, table, series, static or [], label)
    if series and joint and labels is None and not static and len(data) == 1:
        parts = joined(parts)
    elif not series and not joint:
        parts = [alone(part, c) for part in parts for c in range(len(part.window.names))]
    parts = [usable(part, reading) for part in parts]
    found = index_labels(labels, f"labels of '{path}'") if labels is not None else None
    return SeriesData(
        parts, common, _facts(reading, parts, common, used), None if found is None else found.classes,
        None if found is None else found.of_item,
    )  # fmt: skip


def _facts(reading: Reading, parts: list[Part], frequency: Frequency, used: list[str]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.window.times.astype(np.int64), part.window.values, part.window.known):
            digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "kind": "series",
        "path": str(reading.path),
        "time": "+".join(used) or None,
        "columns": list(parts[0].window.names),
        "frequency": str(frequency),
        "rows": max(part.window.shape[1] for part in parts),
        "notes": list(dict.fromkeys(reading.notes)),
        "left_out": reading.left_out,
        "sha256": digest.hexdigest(),
    }


def _series_column(
    table: pd.DataFrame, times: np.ndarray | None, used: list[str], columns: list[str] | None
) -> str | None:
    """Of a table whose times repeat, the first column of words by which they do not."""
    if times is None or len(np.unique(times)) == len(times):
        return None
    for name in table.columns:
        if name in used or name in (columns or ()):
            continue
        cells = table[name].astype(str)
        several = 1 < cells.nunique() <= len(cells) // 2
        if several and wordy(table[name]) and not table.assign(_t=times).duplicated(["_t", name]).any():
            return str(name)
    return None
