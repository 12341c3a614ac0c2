"""Times that are written as numbers: years, quarters, weeks, days of a year, seconds since 1970, days of a spreadsheet."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

EPOCHS = {10: 10**6, 13: 10**3, 16: 1, 19: 1}
"""Digits of a time since 1970 to the microseconds of its unit; of nanoseconds the last three digits are dropped."""
UNITS = {10: "seconds", 13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}
SPREADSHEET = np.datetime64("1899-12-30", "us")
"""Day 0 of spreadsheets."""
COMPACT = {6: "%Y%m", 8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


def numbered(texts: pd.Series) -> tuple[np.ndarray, str] | None:
    """(datetime64[us] [T], what they were read as) of texts of which all are such numbers or nothing; None: others."""
    given = texts[texts != ""]
    if not len(given):
        return None
    for read in (_calendar, _compact, _since_1970, _spreadsheet):
        found = read(texts, given)
        if found is not None:
            return found
    return None


def _calendar(texts: pd.Series, given: pd.Series) -> tuple[np.ndarray, str] | None:
    """Years, quarters, ISO weeks and days of a year."""
    if given.str.fullmatch(r"(1[5-9]|2[01])\d\d").all():
        return _dates([f"{t}-01-01" if t else "NaT" for t in texts]), "years"
    if given.str.fullmatch(r"\d{4}[ -]?[Qq][1-4]|[Qq][1-4][ /-]?\d{4}").all():
        parts = [re.sub(r"(?i)q([1-4])[ /-]?(\d{4})", r"\2Q\1", t) for t in texts]
        return _dates([f"{t[:4]}-{3 * int(t[-1]) - 2:02d}-01" if t else "NaT" for t in parts]), "quarters"
    if given.str.fullmatch(r"\d{4}[ -]?[Ww]\d\d").all():
        return _dates([_monday(t) if t else "NaT" for t in texts]), "the Mondays of ISO weeks"
    if given.str.fullmatch(r"(1[5-9]|2[01])\d\d-[0-3]\d\d").all():
        days = [str(np.datetime64(t[:4], "D") + (int(t[5:]) - 1)) if t else "NaT" for t in texts]
        return _dates(days), "days of a year"
    return None


def _dates(when: list[str]) -> np.ndarray:
    return np.array(when, "datetime64[us]")


def _monday(text: str) -> str:
    week = min(max(int(text[-2:]), 1), 53)
    try:
        return date.fromisocalendar(int(text[:4]), week, 1).isoformat()
    except ValueError:  # a year without a week 53
        return "NaT"


def _compact(texts: pd.Series, given: pd.Series) -> tuple[np.ndarray, str] | None:
    """Digits alone, from the year to the month, hour, minute or second."""
    import pandas as pd

    size = len(given.iloc[0])
    # seconds since 1970 look like that from 2030 on alone, and then not all of them
    if size not in COMPACT or size == 8 or not given.str.fullmatch(rf"(19|20)\d{{{size - 2}}}").all():
        return None
    read = pd.to_datetime(texts, format=COMPACT[size], errors="coerce")
    if read[texts != ""].isna().any():
        return None
    return read.to_numpy().astype("datetime64[us]"), COMPACT[size]


def _since_1970(texts: pd.Series, given: pd.Series) -> tuple[np.ndarray, str] | None:
    whole = given.str.replace(r"\.\d+$", "", regex=True)
    size = int(whole.str.len().max())
    # a digit less is a time before September 2001
    if size not in (9, 10, 12, 13, 15, 16, 18, 19) or not given.str.fullmatch(r"\d+(\.\d+)?").all():
        return None
    if int(whole.str.len().min()) < size - 1:
        return None
    digits = size + 1 if size % 3 == 0 else size
    when = np.full(len(texts), "NaT", "datetime64[us]")
    for i, text in enumerate(texts):
        if text:
            number, _, rest = text.partition(".")
            micro = int(number) // 1_000 if digits == 19 else int(number) * EPOCHS[digits]
            when[i] = np.datetime64(micro + round(float(f"0.{rest or 0}") * EPOCHS[digits]), "us")
    return when, f"{UNITS[digits]} since 1970, in UTC"


def _spreadsheet(texts: pd.Series, given: pd.Series) -> tuple[np.ndarray, str] | None:
    """Days since 1899-12-30 from 1954 to 2119, where they go on in time."""
    if not given.str.fullmatch(r"[2-7]\d{4}(\.\d+)?").all():
        return None
    steps = np.diff(given.astype(float).drop_duplicates())
    if len(steps) < 2 or not ((steps > 0).all() or (steps < 0).all()):
        return None
    # to the second, which is what spreadsheets mean by a fraction of a day
    seconds = [round(float(text) * 86_400) * 10**6 if text else None for text in texts]
    when = [
        np.datetime64("NaT", "us") if s is None else SPREADSHEET + np.timedelta64(s, "us") for s in seconds
    ]
    return np.array(when, "datetime64[us]"), "days of a spreadsheet, counted from 1899-12-30"
