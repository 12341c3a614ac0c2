"""How far apart rows are: fixed steps, months, trading days, or rows without times; and what comes next.

Trading days are kept as they are: days without a row are no gaps there, and the future skips weekends.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few

Unit = Literal["microseconds", "months", "business days", "rows"]
MICROSECONDS = {"second": 10**6, "minute": 6 * 10**7, "hour": 36 * 10**8, "day": 864 * 10**8}
DAY = MICROSECONDS["day"]
MOST_EMPTY = 3.0
"""Rows after gaps are filled, in units of the rows that are there: beyond it times are irregular, not full of gaps."""


@dataclass(frozen=True)
class Frequency:
    """The step from a row to the next: `step` times `unit`."""

    unit: Unit
    step: int = 1

    @property
    def season(self) -> int:
        """Steps of the main cycle: of a day, a week or a year; 1 where there is none to expect."""
        if self.unit == "months":
            return max(12 // self.step, 1)
        if self.unit != "microseconds":
            return 1
        for cycle in (DAY, 7 * DAY, 364 * DAY):
            if self.step < cycle:
                return max(round(cycle / self.step), 1) if cycle / self.step <= 400 else 1
        return 1

    @property
    def days(self) -> float:
        """About how many days a step is; infinity where rows have no times."""
        if self.unit == "rows":
            return float("inf")
        return {"months": 30.4, "business days": 1.0}.get(self.unit, self.step / DAY if self.step else 0) * (
            self.step if self.unit == "months" else 1
        )

    def after(self, last: np.datetime64 | int, count: int) -> np.ndarray:
        """The next `count` times after `last`."""
        ahead = np.arange(1, count + 1) * self.step
        if self.unit == "rows":
            return np.asarray(last, np.int64) + ahead
        when: Any = np.asarray(last, "datetime64[us]")[()]
        if self.unit == "microseconds":
            return when + ahead.astype("timedelta64[us]")
        if self.unit == "business days":
            day = when.astype("datetime64[D]")
            return np.busday_offset(day, ahead, roll="backward" if self.step > 0 else "forward") + (
                when - day
            )
        return _months_after(when, ahead)

    def before(self, first: np.datetime64 | int, count: int) -> np.ndarray:
        """The `count` times before `first`, in their order."""
        return replace(self, step=-self.step).after(first, count)[::-1]

    def __str__(self) -> str:
        return described(self.step) if self.unit == "microseconds" else f"{self.step} {self.unit}"


def time_of(written: str | int) -> np.datetime64 | int:
    """A time as it is written, "2020-01-31T13:00", or a row's number.

    Raises:
        PerrinError: a text that is none.
    """
    if isinstance(written, int):
        return written
    try:
        return np.datetime64(written, "us")
    except ValueError as error:
        raise PerrinError(
            f"start {written!r} is no time; write it like 2020-01-31 or 2020-01-31T13:00"
        ) from error


def shown(time: Any) -> str:
    """A time as short as it can be said, "2020-01-31"; a row's number as it is."""
    return str(np.datetime_as_string(time, unit="auto")) if isinstance(time, np.datetime64) else str(time)


def described(step: int) -> str:
    """A number of microseconds in words: "1 hour", "15 minutes"."""
    for name, size in reversed(MICROSECONDS.items()):
        if step % size == 0:
            count = step // size
            return f"{count:,} {name}" + ("" if count == 1 else "s")
    return f"{step / 10**6:g} seconds"


def _months_after(when: np.datetime64, ahead: np.ndarray) -> np.ndarray:
    month = when.astype("datetime64[M]")
    day = when - month.astype("datetime64[us]")
    last = (month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")
    months = month + ahead.astype("timedelta64[M]")
    if day // np.timedelta64(DAY, "us") == last.astype(int) - 1:  # the end of a month stays one
        return (months + 1).astype("datetime64[D]").astype("datetime64[us]") - np.timedelta64(DAY, "us")
    length = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    return months.astype("datetime64[us]") + np.minimum(day, ((length - 1) * DAY).astype("timedelta64[us]"))


def infer(times: np.ndarray, where: str) -> Frequency:
    """The frequency of sorted times [T] without duplicates.

    Raises:
        PerrinError: frequencies that change on the way, or times of no frequency at all, with the rows.
    """
    steps: np.ndarray = np.diff(times.astype("datetime64[us]").astype(np.int64))
    if not len(steps):
        raise PerrinError(f"{where} has one row: a frequency takes two")
    days = times.astype("datetime64[D]")
    if (monthly := _monthly(times, days)) is not None:
        return monthly
    base = Counter(steps.tolist()).most_common(1)[0][0]
    _refuse_mixed(steps, times, where)
    if base == DAY and len(steps) >= 9 and (steps % DAY == 0).all() and np.is_busday(days).all():
        return Frequency("business days")
    off = np.flatnonzero(steps % base != 0)
    if len(off):
        listed = few(
            (f"row {i + 2} ({shown(times[i + 1])}) comes {described(int(steps[i]))} after" for i in off), 3
        )
        raise PerrinError(
            f"{where} is irregular: most rows are {described(base)} apart, but {listed}; write frequency: "
            "'D' (or 'h', '15min', 'MS') to average the rows on a grid of that step"
        )
    if steps.sum() / base + 1 > MOST_EMPTY * len(times):
        raise PerrinError(
            f"{where} has {len(times):,} rows where one every {described(base)} would be {steps.sum() // base + 1:,}; "
            "write frequency: 'D' (or 'h', 'W', 'MS') to average them on a coarser grid"
        )
    return Frequency("microseconds", int(base))


def _monthly(times: np.ndarray, days: np.ndarray) -> Frequency | None:
    months = times.astype("datetime64[M]")
    steps = np.diff(months.astype(np.int64))
    in_month = (days - months.astype("datetime64[D]")).astype(int)
    ends = ((months + 1).astype("datetime64[D]") - days).astype(int) == 1
    if (steps < 1).any() or not (len(set(in_month.tolist())) == 1 or ends.all()):
        return None
    base = Counter(steps.tolist()).most_common(1)[0][0]
    return Frequency("months", int(base)) if (steps % base == 0).all() else None


def _refuse_mixed(steps: np.ndarray, times: np.ndarray, where: str) -> None:
    """Refuse data whose usual step changes on the way; gaps here and there are no change."""
    size = max(len(steps) // 8, 4)
    usual = [
        Counter(steps[i : i + size].tolist()).most_common(1)[0] for i in range(0, len(steps) - size + 1, size)
    ]
    clear = [(i, step) for i, (step, count) in enumerate(usual) if count > size / 2]
    for (_, before), (block, now) in pairwise(clear):
        if now != before:
            later = np.flatnonzero(steps == now)
            change = int(later[later >= (block - 1) * size][0])
            raise PerrinError(
                f"{where} has mixed frequencies: rows are {described(before)} apart, and from row {change + 1} "
                f"({shown(times[change])}) on {described(now)}; write frequency: 'D' (or 'h', 'W') to average the rows on "
                "one grid, or split the file"
            )


def gaps_filled(times: np.ndarray, frequency: Frequency) -> tuple[np.ndarray, np.ndarray]:
    """(all times of the grid, where the given ones stand in it); trading days and rows have no gaps."""
    if frequency.unit in ("rows", "business days"):
        return times, np.arange(len(times))
    if frequency.unit == "months":
        month = times.astype("datetime64[M]").astype(np.int64)
        places = (month - month[0]) // frequency.step
    else:
        places = (times - times[0]).astype("timedelta64[us]").astype(np.int64) // frequency.step
    grid = np.concatenate([times[:1], frequency.after(times[0], int(places[-1]))])
    grid[places] = times  # months of other lengths keep the days that the file has
    return grid, places
