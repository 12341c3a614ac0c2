"""A column of times: how its texts are read. Nothing is guessed in silence.

Texts are brought to one form (`time_texts`), every format is tried on the whole column, and the one that reads all of it
is taken. Where days, months and years may be exchanged ("03/04/2020"), the reading that goes forward in time evenly is
taken and noted, or all are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.series.frequency import DAY
from perrin.kinds.series.time_numbers import numbered
from perrin.kinds.series.time_texts import Written, written

if TYPE_CHECKING:
    import pandas as pd

DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d",
    "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%Y", "%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y",
    "%d/%m/%y", "%d-%m-%y", "%d.%m.%y", "%m/%d/%y", "%m-%d-%y", "%y-%m-%d", "%y/%m/%d", "%y.%m.%d",
    "%d %b %Y", "%d %b %y", "%Y %b %d",
)  # fmt: skip
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H:%M:%S.%f", "T%H:%M:%S", "T%H:%M", " %H")
MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%m-%Y", "%b %Y", "%b %y", "%YM%m", "%Y %b")
FORMS = ("ISO8601", *(d + c for d in DATES for c in CLOCKS), *MONTHS)


class Times(NamedTuple):
    """`values` datetime64[us] [T], NaT where a cell is no time; `note`: what was understood, "" where it is plain."""

    values: np.ndarray
    note: str


def parse_times(cells: pd.Series, column: str, day_first: bool | None = None) -> Times:
    """Texts, numbers or times to datetime64[us]; offsets from UTC are brought to UTC.

    Raises:
        PerrinError: no format reads the column (rows named), days and months may be exchanged, or some times have a
            zone and some have none.
    """
    import pandas as pd

    if isinstance(cells.dtype, pd.DatetimeTZDtype):
        return Times(
            _micro(cells.dt.tz_convert("UTC").dt.tz_localize(None)), f"column {column!r}: times in UTC"
        )
    if cells.dtype.kind == "M":
        return Times(_micro(cells), "")
    texts = cells.map(tidy)
    if (special := numbered(texts)) is not None:
        return Times(special[0], f"column {column!r} read as {special[1]}")
    forms = {text: written(text) for text in texts.drop_duplicates()}
    plain = texts.map(lambda text: forms[text].text)
    read = _parsed(plain, texts, column, day_first)
    return _shifted(read, [forms[text] for text in texts], column)


def _parsed(plain: pd.Series, texts: pd.Series, column: str, day_first: bool | None) -> Times:
    found = _readings(plain[plain != ""].drop_duplicates())
    if not found:
        _refuse(plain, texts, column)
    both = {_order(form) for form in found}
    if len(both & {"day", "month", "year"}) > 1:
        return _either(plain, found, column, day_first)
    asked = {None: None, True: "day", False: "month"}[day_first]
    if asked and both & {"day", "month"} and asked not in both:
        raise PerrinError(f"day_first: {day_first} does not fit column {column!r}, such as {texts.iloc[0]!r}")
    return Times(read_as(plain, found[0]), _told(column, found[0]))


def _shifted(read: Times, forms: list[Written], column: str) -> Times:
    """Times moved by what their texts say of zones and of midnight; notes of it."""
    values, notes = read.values.copy(), [read.note] if read.note else []
    late = np.array([form.late for form in forms])
    if late.any():
        values[late] += np.timedelta64(DAY, "us")
        notes.append(f"column {column!r}: 24:00 is taken for midnight of the next day")
    if any(form.interval for form in forms):
        notes.append(f"column {column!r} read as the beginnings of intervals")
    names = sorted({form.zone for form in forms if form.zone})
    if len(names) > 1:
        raise PerrinError(
            f"column {column!r} has times of the zones {', '.join(names)}; write offsets, such as +01:00, in their place"
        )
    if names:
        notes.append(f"column {column!r}: local times ({names[0]}), taken as they stand")
    offsets = [form.offset for form, known in zip(forms, ~np.isnat(values), strict=True) if known]
    if None in offsets and len(set(offsets)) > 1:
        bare = next(i for i, form in enumerate(forms) if form.offset is None)
        raise PerrinError(
            f"column {column!r} has times with and without an offset from UTC (row {bare + 1} has none); write all alike"
        )
    moved = np.array([form.offset or 0 for form in forms])
    if moved.any():
        if (values == values.astype("datetime64[D]"))[~np.isnat(values)].all():
            notes.append(f"column {column!r}: days by local midnight, whatever its offset from UTC")
        else:
            values = values - moved.astype("timedelta64[m]")
            notes.append(f"column {column!r}: times were brought to UTC")
    return Times(values, "; ".join(notes))


def _told(column: str, form: str) -> str:
    return "" if form.startswith(("%Y-%m-%d", "ISO")) else f"column {column!r} read as {form}"


def _readings(texts: pd.Series) -> list[str]:
    """The formats that read every text; the ISO ones first."""
    head = texts.iloc[:50]
    likely = [f for f in FORMS if not np.isnat(read_as(head, f)).any()]
    found = [f for f in likely if not np.isnat(read_as(texts, f)).any()]
    return found[:1] if found and found[0] == "ISO8601" else found


def read_as(texts: pd.Series, form: str) -> np.ndarray:
    """Texts in one format, datetime64[us] [T], NaT for those that are not."""
    import pandas as pd

    # ISO 8601 alone would take "2020" and "202001" for dates, and other forms lack leading zeros
    if form == "ISO8601" and not texts[texts != ""].str.match(r"\d{4}-\d\d-\d\d").all():
        return np.full(len(texts), "NaT", "datetime64[us]")
    read = pd.to_datetime(texts, format=form, errors="coerce", utc=True)
    return _micro(read.dt.tz_localize(None))


def _micro(times: pd.Series) -> np.ndarray:
    found: np.ndarray = times.to_numpy().astype("datetime64[us]")
    return found


def _order(form: str) -> str:
    """What a numeric date has first: the day, the month, or a year of two digits."""
    if form.startswith(("%d/%m", "%d-%m", "%d.%m")):
        return "day"
    if form.startswith(("%m/%d", "%m-%d", "%m.%d")):
        return "month"
    return "year" if form.startswith("%y") else ""


def _either(texts: pd.Series, found: list[str], column: str, day_first: bool | None) -> Times:
    """Days, months and years that may be exchanged: as asked for, or the only reading that is even and goes on."""
    forms = {
        order: next((f for f in found if _order(f) == order), None) for order in ("day", "month", "year")
    }
    read = {order: read_as(texts, form) for order, form in forms.items() if form}
    asked = {None: None, True: "day", False: "month"}[day_first]
    if asked in read:
        return Times(read[asked], _told(column, str(forms[asked])))
    even = [order for order, times in read.items() if _even(times)]
    # a number that goes through a month, read as a year, gives years
    even = [order for order in even if _step(read[order]) < 360 * DAY] or even
    if len(even) == 1:
        others = " or ".join(order for order in read if order != even[0])
        return Times(
            read[even[0]],
            f"column {column!r} read with the {even[0]} first, as {forms[even[0]]}: with the {others} first its times "
            "would not go forward evenly (day_first says which, if that is wrong)",
        )
    days = np.stack([times.astype("datetime64[D]") for times in read.values()])
    at = int(np.flatnonzero((days != days[0]).any(0))[0])
    listed = " or ".join(dict.fromkeys(days[:, at].astype(str)))
    raise PerrinError(
        f"column {column!r}: {texts.iloc[at]!r} may be {listed}; write day_first: true or day_first: false"
    )


def _steps(times: np.ndarray) -> np.ndarray:
    """From each time to the next; times that stand in several rows count once, and the newest may be first."""
    known = times[~np.isnat(times)]
    once = known[np.sort(np.unique(known, return_index=True)[1])]
    steps = np.diff(once).astype(np.int64)
    return -steps if len(steps) and steps[0] < 0 else steps


def _even(times: np.ndarray) -> bool:
    """Whether times go one way in like steps."""
    steps = _steps(times)
    return bool(len(steps) and (steps > 0).all() and steps.max() <= 8 * np.median(steps))


def _step(times: np.ndarray) -> float:
    return float(np.median(_steps(times)))


def tidy(cell: object) -> str:
    """A cell as a text without blanks to spare."""
    text = "" if cell is None or cell != cell else re.sub(r"\s+", " ", str(cell)).strip()
    return text.removesuffix(".0") if re.fullmatch(r"\d+\.0", text) else text  # years of parquet with a gap


def _refuse(plain: pd.Series, texts: pd.Series, column: str) -> None:
    """Say which rows the best format does not read.

    Raises:
        PerrinError: always.
    """
    given = plain[plain != ""]
    misses = {form: np.isnat(read_as(given.iloc[:1000], form)) for form in FORMS}
    best = min(misses, key=lambda form: int(misses[form].sum()))
    bad = given.index[np.flatnonzero(misses[best])]
    listed = few((f"row {i + 1} {texts[i]!r}" for i in bad), 3)
    reads = f"; the other rows read as {best}" if len(bad) < len(misses[best]) else ""
    raise PerrinError(
        f"column {column!r} holds no times that can be read: {listed}{reads}; write them like 2020-01-31 or "
        "2020-01-31 13:00, or name another column as time"
    )
