"""The column of times: which one it is, and how its texts are read. Nothing is guessed in silence.

Every format is tried on the whole column, and the one that reads all of it is taken. Where days and months may be
exchanged ("03/04/2020"), the reading that goes forward in time evenly is taken and noted, or both are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few

if TYPE_CHECKING:
    import pandas as pd

NAMES = (
    "time",
    "date",
    "datetime",
    "timestamp",
    "ds",
    "day",
    "month",
    "week",
    "year",
    "period",
    "quarter",
    "hour",
)
DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y",
    "%d/%m/%y", "%d-%m-%y", "%d.%m.%y", "%m/%d/%y", "%m-%d-%y",
    "%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d-%b-%y", "%d %b %y", "%d %B %Y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y",
    "%b %d %Y", "%a %d %b %Y", "%a, %d %b %Y", "%A, %d %B %Y", "%A, %B %d, %Y",
)  # fmt: skip
CLOCKS = (
    "",
    " %H:%M:%S",
    " %H:%M",
    " %I:%M %p",
    " %I:%M:%S %p",
    " %H:%M:%S.%f",
    "T%H:%M:%S",
    "T%H:%M",
    " %Hh%M",
    " %H",
)
MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%b %y", "%YM%m", "%Y %b")
EPOCHS = {10: "s", 13: "ms", 16: "us", 19: "ns"}
SHARE = 0.9
"""Of a column's cells that are times, where it is one."""


class Times(NamedTuple):
    """`values` datetime64[us] [T], NaT where a cell is no time; `note`: what was understood, "" where it is plain."""

    values: np.ndarray
    note: str


def time_column(table: pd.DataFrame, wanted: str | None, path: object) -> str | None:
    """The column of times: the one that is asked for, or named like one, or the first that holds dates; None: none.

    Raises:
        PerrinError: no such column.
    """
    from perrin.registry import unknown

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
    return None


def parse_times(cells: pd.Series, column: str, day_first: bool | None = None) -> Times:
    """Texts, numbers or times to datetime64[us]; zones are brought to UTC.

    Raises:
        PerrinError: no format reads the column (rows named), or days and months may be exchanged.
    """
    import pandas as pd

    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        return Times(
            _micro(cells.dt.tz_convert("UTC").dt.tz_localize(None)), f"column {column!r}: times in UTC"
        )
    if cells.dtype.kind == "M":
        return Times(_micro(cells), "")
    texts = cells.map(_tidy)
    if (special := _special(texts, column)) is not None:
        return special
    found = _readings(texts[texts != ""].drop_duplicates())
    if not found:
        return _refused(texts, column)
    both = {_order(form) for form in found}
    if {"day", "month"} <= both:
        return _either(texts, found, column, day_first)
    if (
        day_first is not None
        and both
        and ("day" if day_first else "month") not in both
        and both & {"day", "month"}
    ):
        raise PerrinError(f"day_first: {day_first} does not fit column {column!r}, such as {texts.iloc[0]!r}")
    return Times(_read(texts, found[0]), _told(column, found[0]))


def _told(column: str, form: str) -> str:
    return "" if form.startswith(("%Y-%m-%d", "ISO")) else f"column {column!r} read as {form}"


def _readings(texts: pd.Series) -> list[str]:
    """The formats that read every text; the ISO ones first."""
    head = texts.iloc[:50]
    forms = ["ISO8601", *(d + c for d in DATES for c in CLOCKS), *MONTHS]
    likely = [f for f in forms if not np.isnat(_read(head, f)).any()]
    found = [f for f in likely if not np.isnat(_read(texts, f)).any()]
    return found[:1] if found and found[0] == "ISO8601" else found


def _read(texts: pd.Series, form: str) -> np.ndarray:
    import pandas as pd

    # ISO 8601 alone would take "2020" and "202001" for dates, and other forms lack leading zeros or zones
    if form == "ISO8601" and not texts[texts != ""].str.match(r"\d{4}-\d\d-\d\d").all():
        return np.full(len(texts), "NaT", "datetime64[us]")
    read = pd.to_datetime(texts, format=form, errors="coerce", utc=True)
    return _micro(read.dt.tz_localize(None))


def _micro(times: pd.Series) -> np.ndarray:
    found: np.ndarray = times.to_numpy().astype("datetime64[us]")
    return found


def _order(form: str) -> str:
    """Whether a numeric date has the day or the month first."""
    if form.startswith(("%d/%m", "%d-%m", "%d.%m")):
        return "day"
    return "month" if form.startswith(("%m/%d", "%m-%d", "%m.%d")) else ""


def _either(texts: pd.Series, found: list[str], column: str, day_first: bool | None) -> Times:
    """Days and months that may be exchanged: as asked for, or the only reading that is even and goes forward."""
    forms = {order: next(f for f in found if _order(f) == order) for order in ("day", "month")}
    read = {order: _read(texts, form) for order, form in forms.items()}
    if day_first is not None:
        chosen = "day" if day_first else "month"
        return Times(read[chosen], _told(column, forms[chosen]))
    even = [order for order, times in read.items() if _even(times)]
    if len(even) == 1:
        other = "month" if even[0] == "day" else "day"
        return Times(
            read[even[0]],
            f"column {column!r} read with the {even[0]} first, as {forms[even[0]]}: with the {other} first its times would "
            "not go forward evenly (day_first says which, if that is wrong)",
        )
    raise PerrinError(
        f"column {column!r}: {texts.iloc[0]!r} may be {read['day'][0].astype('datetime64[D]')} or "
        f"{read['month'][0].astype('datetime64[D]')}; write day_first: true or day_first: false"
    )


def _even(times: np.ndarray) -> bool:
    steps = np.diff(times[~np.isnat(times)]).astype(np.int64)
    return bool(len(steps) and (steps > 0).all() and steps.max() <= 8 * np.median(steps))


def _special(texts: pd.Series, column: str) -> Times | None:
    """Years, quarters, ISO weeks and seconds since 1970."""
    given = texts[texts != ""]
    if not len(given):
        return None
    when: list[str] | None = None
    if given.str.fullmatch(r"(1[5-9]|2[01])\d\d").all():
        when, what = [f"{t}-01-01" if t else "NaT" for t in texts], "years"
    elif given.str.fullmatch(r"\d{4}[ -]?[Qq][1-4]|[Qq][1-4][ /-]?\d{4}").all():
        parts = [re.sub(r"(?i)q([1-4])[ /-]?(\d{4})", r"\2Q\1", t) for t in texts]
        when, what = [f"{t[:4]}-{3 * int(t[-1]) - 2:02d}-01" if t else "NaT" for t in parts], "quarters"
    elif given.str.fullmatch(r"\d{4}-?W\d\d").all():
        when, what = [_monday(t) if t else "NaT" for t in texts], "the Mondays of ISO weeks"
    elif given.str.fullmatch(r"\d{10}|\d{13}|\d{16}|\d{19}").all() and given.str.len().nunique() == 1:
        unit = EPOCHS[len(given.iloc[0])]
        # the smallest int64 is what NumPy takes for no time
        whole = np.array([int(t) if t else np.iinfo(np.int64).min for t in texts], np.int64)
        times = whole.view(f"datetime64[{unit}]")
        return Times(times.astype("datetime64[us]"), f"column {column!r} read as {unit} since 1970, in UTC")
    if when is None:
        return None
    return Times(np.array(when, "datetime64[us]"), f"column {column!r} read as {what}")


def _monday(text: str) -> str:
    from datetime import date

    return date.fromisocalendar(int(text[:4]), int(text[-2:]), 1).isoformat()


def _tidy(cell: object) -> str:
    text = "" if cell is None or cell != cell else re.sub(r"\s+", " ", str(cell)).strip()
    return text.removesuffix(".0") if re.fullmatch(r"\d+\.0", text) else text  # years of parquet with a gap


def _refused(texts: pd.Series, column: str) -> Times:
    """Which rows the best format does not read."""
    given = texts[texts != ""]
    forms = ["ISO8601", *(d + c for d in DATES for c in CLOCKS), *MONTHS]
    misses = {form: np.isnat(_read(given.iloc[:1000], form)) for form in forms}
    best = min(misses, key=lambda form: int(misses[form].sum()))
    bad = np.flatnonzero(misses[best])
    listed = few((f"row {given.index[i] + 1} {given.iloc[i]!r}" for i in bad), 3)
    reads = f"; the other rows read as {best}" if len(bad) < len(misses[best]) else ""
    raise PerrinError(
        f"column {column!r} holds no times that can be read: {listed}{reads}; write them like 2020-01-31 or "
        "2020-01-31 13:00, or name another column as time"
    )


def _numeric(cells: pd.Series) -> bool:
    texts = cells.iloc[:200].map(_tidy)
    return bool(texts.str.fullmatch(r"[+-]?[\d.,]*\d[\d.,]*(e[+-]?\d+)?|").all())


def _reads(cells: pd.Series) -> bool:
    if cells.dtype.kind == "M":
        return True
    texts = cells.map(_tidy)
    given = texts[texts != ""]
    if not len(given):
        return False
    if _special(given, "") is not None:
        return True
    forms = ["ISO8601", *(d + c for d in DATES for c in CLOCKS), *MONTHS]
    return any((~np.isnat(_read(given, form))).mean() >= SHARE for form in forms)
