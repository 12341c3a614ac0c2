"""Rows of a table as series: one each by name, joined or taken apart, with what is told of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.series.frequency import Frequency
from perrin.kinds.series.grids import on_grid
from perrin.kinds.series.numerals import numbers
from perrin.kinds.series.parts import Part
from perrin.kinds.series.request import Reading
from perrin.kinds.series.window import SeriesWindow

if TYPE_CHECKING:
    import pandas as pd


def parted(
    table: pd.DataFrame,
    series: str | None,
    times: np.ndarray | None,
    data: dict[str, np.ndarray],
    extra: dict[str, np.ndarray],
    reading: Reading,
) -> tuple[list[Part], Frequency]:
    """One part per series, on one grid of times each."""
    names = np.array([""] * len(table)) if series is None else table[series].astype(str).to_numpy()
    parts, common = list[Part](), None
    for name in dict.fromkeys(names.tolist()):
        rows = np.flatnonzero(names == name)
        where = f"'{reading.path}'" + (f" series {name!r}" if name else "")
        own = {c: v[rows] for c, v in {**data, **extra}.items()}
        when, stacked, frequency = on_grid(
            None if times is None else times[rows], np.stack(list(own.values())), rows, where, reading
        )
        if common is not None and frequency != common:
            raise PerrinError(
                f"{where} has a row every {frequency}, other series every {common}: mixed frequencies; write frequency: "
                "'D' (or 'h', 'W') to average all on one grid"
            )
        common = frequency
        window = SeriesWindow(
            tuple(data),
            when,
            stacked[: len(data)],
            np.full(len(data), np.nan),
            known=stacked[len(data) :],
            series=name,
        )
        parts.append(Part(window))
    assert common is not None
    return parts, common


def described_parts(
    parts: list[Part], table: pd.DataFrame, series: str | None, static: list[str], label: str | None
) -> tuple[list[Part], list[Any] | None]:
    """Parts with their static features (numbers as they are, words as one of them), and their labels."""
    if series is None:
        if static or label:
            raise PerrinError(
                "static and label describe the series of a long table; name its column with series"
            )
        return parts, None
    groups = table.groupby(table[series].astype(str), sort=False)
    features = [[] for _ in parts]  # type: list[list[float]]
    for column in static:
        cells = [_constant(groups[column], part, column) for part in parts]
        read = numbers(cells, column)
        words = sorted(set(map(str, cells))) if read.bad else []
        for own, cell, number in zip(features, cells, read.values, strict=True):
            own.extend([float(str(cell) == word) for word in words] if words else [float(number)])
    labels = None if label is None else [_constant(groups[label], part, label) for part in parts]
    if labels is not None and all(str(one).isdigit() for one in labels):
        labels = [int(one) for one in labels]
    made = [
        Part(replace(part.window, static=np.array(own))) for part, own in zip(parts, features, strict=True)
    ]
    return made, labels


def _constant(groups: Any, part: Part, column: str) -> Any:
    cells = groups.get_group(part.window.series)
    if cells.nunique() != 1:
        raise PerrinError(
            f"column {column!r} changes within series {part.window.series!r} ({cells.iloc[0]!r}, ...); a static column or "
            "label is one for the whole series"
        )
    return cells.iloc[0]


def joined(parts: list[Part]) -> list[Part]:
    """Series of one column and one grid of times as the columns of one; others as they are."""
    first = parts[0].window
    if len(parts) == 1 or not all(np.array_equal(part.window.times, first.times) for part in parts):
        return parts
    values = np.concatenate([part.window.values for part in parts])
    names = tuple(part.window.series for part in parts)
    return [Part(SeriesWindow(names, first.times, values, np.full(len(names), np.nan), known=first.known))]


def alone(part: Part, column: int) -> Part:
    """One column of a part as a series of its own."""
    own = part.window
    chosen = slice(column, column + 1)
    return Part(
        SeriesWindow(
            ("value",),
            own.times,
            own.values[chosen],
            own.before[chosen],
            known=own.known,
            series=own.names[column],
        )
    )


def usable(part: Part, reading: Reading) -> Part:
    """The part without columns that say nothing."""
    keep, window = [], part.window
    for c, name in enumerate(window.names):
        known = window.values[c][~np.isnan(window.values[c])]
        called = f"{name} of series {window.series}" if window.series else name
        if not len(known):
            reading.decide(called, "has no value at all")
        elif np.ptp(known) == 0:
            reading.decide(called, f"is constant: every value is {known[0]:g}")
        else:
            keep.append(c)
    if not keep:
        raise PerrinError(f"'{reading.path}' has no column that changes")
    if len(keep) == len(window.names):
        return part
    names = tuple(window.names[c] for c in keep)
    return Part(replace(window, names=names, values=window.values[keep], before=window.before[keep]))
