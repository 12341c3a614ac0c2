"""What is forecast: data, horizon, the numbers that are scored, and the recipe of the model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perrin.evaluate.backtesting import evenly_spaced
from perrin.kinds.series import open_series
from perrin.kinds.series.window import SeriesWindow

SHARE = 0.2
"""Of the rows, the last, in which the windows lie."""


@dataclass(frozen=True)
class Task:
    """One question asked at many times of the past.

    Attributes:
        name: of its folder. file: in the folder of data. recipe: of the model. season: steps of the main cycle, for the
            simple methods. increments: whether changes from row to row are scored, in the place of the columns.
        changes: of the recipe. run: the task whose model answers; its own by default.
    """

    name: str
    title: str
    file: str
    recipe: str
    horizon: int
    season: int
    increments: bool = False
    changes: tuple[str, ...] = ()
    run: str = ""

    def open(self, folder: Path) -> SeriesWindow:
        """The series."""
        return open_series(folder / self.file).parts[0].window

    def origins(self, window: SeriesWindow, windows: int) -> np.ndarray:
        """Rows [W] at which windows begin."""
        return evenly_spaced(window.shape[1], self.horizon, windows, SHARE)

    def scored(self, values: np.ndarray) -> np.ndarray:
        """What is scored [C, T] of the columns [C, T]; the first increment is not known."""
        if not self.increments:
            return values
        return np.diff(values, prepend=np.full((len(values), 1), np.nan))

    def scored_paths(self, paths: np.ndarray, values: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """The same of paths [W, n, C, H] of the columns, which go on from the rows before the origins."""
        if not self.increments:
            return paths
        last = np.stack([values[:, o - 1] for o in origins])[:, None, :, None]
        return np.diff(paths, axis=3, prepend=np.broadcast_to(last, (*paths.shape[:3], 1)))


COVID = "covid19-key-countries-pivoted.csv.gz"
TASKS = (
    Task("etth1", "ETTh1, 24 h", "ETTh1.csv.gz", "load", 24, 24),
    Task("covid-cases", "COVID-19, new cases, 14 days", COVID, "epidemic", 14, 7, increments=True),
    Task("covid-totals", "COVID-19, totals, 14 days", COVID, "epidemic", 14, 7, run="covid-cases"),
    Task("wti", "WTI, 30 days", "wti-daily.csv.gz", "prices", 30, 1),
    Task(
        "exchange-rate",
        "exchange rates, 30 days",
        "exchange_rate.csv.gz",
        "prices",
        30,
        1,
        changes=("net.patch=30", "training.cpu_seconds=60"),
    ),
)
