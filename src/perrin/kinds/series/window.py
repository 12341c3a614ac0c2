"""A stretch of one series, as the user has it: what an item is, and what comes out of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from perrin.errors import PerrinError


@dataclass(frozen=True, eq=False)
class SeriesWindow:
    """Values of several columns at consecutive times, in the user's units.

    Attributes:
        names: of the columns. times: datetime64[us] [T], or int64 [T], the rows' numbers, of data without times.
        values: float64 [C, T], NaN where a value is missing.
        before: [C], the values of the row before the window, NaN where there is none; differences begin there.
        given: bool [C, T], which values were given, of a window that a model completed; None for data.
        known: float64 [K, T], covariates that are known for the future too.
        static: float64 [S], what is told of the series as a whole.
        series: its name, "" where there is one.
    """

    names: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray
    before: np.ndarray
    given: np.ndarray | None = None
    known: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    static: np.ndarray = field(default_factory=lambda: np.empty(0))
    series: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, T]."""
        found: tuple[int, ...] = self.values.shape
        return found

    def rows(self, start: int, stop: int) -> Self:
        """Rows `start` to `stop` - 1, counted from 0."""
        return replace(
            self,
            times=self.times[start:stop],
            values=self.values[:, start:stop],
            before=self.values[:, start - 1] if start else self.before,
            given=None if self.given is None else self.given[:, start:stop],
            known=self.known[:, start:stop],
        )

    def written(self) -> dict[str, Any]:
        """JSON-able; `read_window` reads it again."""
        return {
            "names": list(self.names),
            "times": self.times.tolist() if self.times.dtype.kind == "i" else self.times.astype(str).tolist(),
            "values": _plain(self.values),
            "before": _plain(self.before),
            "known": _plain(self.known),
            "static": _plain(self.static),
            "series": self.series,
        }


def _plain(values: np.ndarray) -> list[Any]:
    plain = values.astype(object)
    plain[np.isnan(values)] = None  # JSON has no NaN
    found: list[Any] = plain.tolist()
    return found


def read_window(written: Mapping[str, Any]) -> SeriesWindow:
    """The window of `SeriesWindow.written`."""
    rows = len(written["times"])
    whole = bool(rows) and isinstance(written["times"][0], int)
    arrays = {n: np.array(written[n], np.float64) for n in ("values", "before", "known", "static")}
    return SeriesWindow(
        tuple(written["names"]),
        np.array(written["times"], np.int64 if whole else "datetime64[us]"),
        arrays["values"],
        arrays["before"],
        known=arrays["known"].reshape(-1, rows),
        static=arrays["static"],
        series=written["series"],
    )


def of_array(values: Any, names: tuple[str, ...], times: Callable[[int], np.ndarray]) -> SeriesWindow:
    """Plain values [C, T] as a window; `times` makes so many.

    Raises:
        PerrinError: another shape.
    """
    array = np.asarray(values, np.float64)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != len(names):
        raise PerrinError(
            f"values of shape {np.shape(values)}; [columns, rows] of {', '.join(names)} are needed"
        )
    return SeriesWindow(
        names,
        times(array.shape[1]),
        array,
        np.full(len(array), np.nan),
        known=np.empty((0, array.shape[1])),
    )
