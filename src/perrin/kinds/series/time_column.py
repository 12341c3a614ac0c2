"""Which column of a table holds its times."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from perrin.kinds.series.time_numbers import numbered
from perrin.kinds.series.time_texts import written
from perrin.kinds.series.timestamps import FORMS, read_as, tidy
from perrin.registry import unknown

if TYPE_CHECKING:
    import pandas as pd

NAMES = (
    "time", "date", "datetime", "timestamp", "ds", "ts", "day", "month", "week", "year", "period", "quarter", "hour",
    "epoch", "unix", "unixtime", "datum", "zeit", "zeitstempel", "jahr", "jour", "fecha",
)  # fmt: skip
SHARE = 0.9
"""Of a column's cells that are times, where it is one."""


def time_column(table: pd.DataFrame, wanted: str | None, path: object) -> str | None:
    """The column of times: the one that is asked for, or named like one, or the first that holds dates; None: none.

    A column that is named like times but holds texts that are none is the one too: `parse_times` says why not.

    Raises:
        PerrinError: no such column.
    """
    if wanted is not None:
        missing = [part for part in wanted.split("+") if part not in table.columns]
        if missing:
            raise unknown(f"column of '{path}'", missing[0], list(table.columns))
        return wanted
    named = [c for c in table.columns if re.sub(r"[^a-z]", "", c.lower()) in NAMES]
    for column in (*named, *(c for c in table.columns if c not in named)):
        cells = table[column]
        # plain numbers are times only where their column says so
        if (column in named or not _numeric(cells)) and _reads(cells.iloc[:200]):
            return str(column)
    return next((c for c in named if not _numeric(table[c])), None)


def _numeric(cells: pd.Series) -> bool:
    texts = cells.iloc[:200].map(tidy)
    return bool(texts.str.fullmatch(r"[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?|").all())


def _reads(cells: pd.Series) -> bool:
    if cells.dtype.kind == "M":
        return True
    texts = cells.map(tidy)
    given = texts[texts != ""]
    if not len(given):
        return False
    if numbered(given) is not None:
        return True
    plain = given.map(lambda text: written(text).text)
    return any((~np.isnat(read_as(plain, form))).mean() >= SHARE for form in FORMS)
