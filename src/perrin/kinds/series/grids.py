"""Rows at their times, on a grid without holes: duplicates and disorder refused, gaps filled with missing values."""

from __future__ import annotations

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.files import few
from perrin.kinds.series.frequency import Frequency, gaps_filled, infer, shown
from perrin.kinds.series.request import Reading


def on_grid(
    times: np.ndarray | None, values: np.ndarray, rows: np.ndarray, where: str, reading: Reading
) -> tuple[np.ndarray, np.ndarray, Frequency]:
    """(times, values [C, T], frequency) of one series.

    Args:
        times: of the values [C, rows], None for rows that are numbered; rows: where they stand in the file, for messages.

    Raises:
        PerrinError: unsorted or duplicate times, mixed or no frequency, each with rows.
    """
    if times is None:
        return np.arange(values.shape[1]), values, Frequency("rows")
    steps = np.diff(times).astype(np.int64)
    back = np.flatnonzero(steps < 0)
    if len(back):
        if reading.order == "refuse":
            what = "the newest first" if (steps <= 0).all() else "not in the order of time"
            listed = few(
                (f"row {rows[i + 1] + 1} ({shown(times[i + 1])}) after {shown(times[i])}" for i in back), 3
            )
            raise PerrinError(f"the rows of {where} are {what}: {listed}; write order: sort to sort them")
        order = np.argsort(times, kind="stable")
        times, values, rows = times[order], values[:, order], rows[order]
        reading.notes.append(f"{where}: rows were sorted by time")
    double = np.flatnonzero(np.diff(times).astype(np.int64) == 0)
    if len(double) and reading.frequency is None:
        listed = few((f"rows {rows[i] + 1} and {rows[i + 1] + 1} ({shown(times[i])})" for i in double), 3)
        raise PerrinError(
            f"{where} has duplicate times: {listed}{_summer_time(times[double])}; keep one row for each, name the column "
            f"that tells series apart (series: NAME), or average them with frequency: {_step_name(times)!r}"
        )
    if reading.frequency is not None:
        times, values = _averaged(times, values, reading)
    frequency = infer(times, where)
    grid, places = gaps_filled(times, frequency)
    if len(grid) > len(times):
        missing = np.setdiff1d(np.arange(len(grid)), places)
        listed = few((shown(grid[i]) for i in missing), 3)
        reading.notes.append(f"{where}: {len(missing):,} of {len(grid):,} times have no row ({listed}): gaps")
        filled = np.full((len(values), len(grid)), np.nan)
        filled[:, places] = values
        values = filled
    return grid, values, frequency


def _summer_time(double: np.ndarray) -> str:
    """What explains an hour that comes twice on a Sunday in autumn."""
    days = double.astype("datetime64[D]")
    month = (days.astype("datetime64[M]") - days.astype("datetime64[Y]")).astype(int) + 1
    early = (double - days).astype("timedelta64[h]").astype(int) <= 2
    sunday = np.is_busday(days, weekmask="0000001")
    if not (early & sunday & ((month == 10) | (month == 11))).all() or (double == days).all():
        return ""
    return ", as when summer time ends (write times with their offset, such as +02:00)"


def _step_name(times: np.ndarray) -> str:
    return "D" if (times == times.astype("datetime64[D]")).all() else "h"


def _averaged(times: np.ndarray, values: np.ndarray, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    try:
        made = pd.DataFrame(values.T, index=pd.DatetimeIndex(times)).resample(reading.frequency).mean()
    except ValueError as error:
        raise PerrinError(
            f"frequency {reading.frequency!r} is none: write 'h', 'D', 'W', 'MS' or '15min'"
        ) from error
    reading.notes.append(f"rows were averaged on a grid of {reading.frequency!r}")
    return made.index.to_numpy().astype("datetime64[us]"), made.to_numpy().T
