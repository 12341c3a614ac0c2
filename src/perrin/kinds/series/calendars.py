r"""What the calendar says of a time, known for the future too: sine and cosine of its place in the day, week and year.

hour of the day (steps shorter than a day), day of the week (shorter than a week), day of the year (shorter than a year)
"""

from __future__ import annotations

import numpy as np

from perrin.kinds.series.frequency import DAY, Frequency

CYCLES = {"day": 1.0, "week": 7.0, "year": 365.2425}
"""Days of a cycle."""
MONDAY = np.datetime64("1970-01-05", "us")


def cycles(frequency: Frequency) -> tuple[str, ...]:
    """Names of the cycles that rows of that frequency pass through."""
    return tuple(name for name, days in CYCLES.items() if frequency.days < days)


def calendar(times: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Sines and cosines float32 `[..., 2 K, T]` of K cycles at times datetime64 `[..., T]`."""
    if not names:
        return np.empty((*times.shape[:-1], 0, times.shape[-1]), np.float32)
    when = times.astype("datetime64[us]")
    days = (when - MONDAY).astype(np.int64) / DAY
    # the year begins with January: its cycle has no drift against the calendar
    year = (when - when.astype("datetime64[Y]").astype("datetime64[us]")).astype(np.int64) / DAY
    angles = [2 * np.pi * (year if name == "year" else days) / CYCLES[name] for name in names]
    both = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    found: np.ndarray = np.stack(both, -2).astype(np.float32)
    return found
