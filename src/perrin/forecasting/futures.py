"""A forecast: many futures of a series, their log-densities, and what they say of quantiles and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.forecasting.ranking import extremity, height, share
from perrin.kinds.series.events import Event, parse_event
from perrin.kinds.series.fan_chart import fan_chart
from perrin.kinds.series.window import SeriesWindow
from perrin.likelihood import LogProb
from perrin.metrics.paths import path_quantiles

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 3
"""Rows of history in pictures, in units of the horizon (at least 30 rows, as far as there are any)."""


@dataclass(frozen=True)
class Forecast:
    """Many futures of one history.

    Attributes:
        history: up to its last value, and after it covariates of the future where there are any.
        windows: of each path, [C, context + horizon]; `given` says what is history.
        horizon: steps ahead.
        provenance: for each path, all that is needed to draw it again.
        log_probs: "ode" or "bound" -> log-densities of the paths in nats, in the units of the data, given the history.
        about: facts: the model, seconds, notes of what was understood or done.
        events: asked for, in their order.
    """

    history: SeriesWindow
    windows: list[SeriesWindow]
    horizon: int
    provenance: list[dict[str, Any]]
    log_probs: dict[str, LogProb] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return self.history.names

    @cached_property
    def paths(self) -> np.ndarray:
        """The futures, float64 [n, C, H]."""
        return np.stack([window.values[:, -self.horizon :] for window in self.windows])

    @property
    def times(self) -> np.ndarray:
        """Of the steps ahead, datetime64[us] [H], or int64 row numbers."""
        found: np.ndarray = self.windows[0].times[-self.horizon :]
        return found

    @property
    def log_prob(self) -> LogProb | None:
        """The log-densities by which paths are ranked: the ODE's where there are both, which have the smaller error."""
        return self.log_probs.get("ode", self.log_probs.get("bound"))

    def ahead(self) -> list[SeriesWindow]:
        """The windows without their history: H rows each."""
        return [w.rows(w.shape[1] - self.horizon, w.shape[1]) for w in self.windows]

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """Quantiles [L, C, H] at levels in (0, 1), of every step by itself; see `metrics.paths.path_quantiles`.

        Raises:
            PerrinError: levels that are not between 0 and 1.
        """
        at = np.asarray(levels, np.float64)
        if at.ndim != 1 or not ((at > 0) & (at < 1)).all():
            raise PerrinError(f"levels {list(levels)} must lie between 0 and 1, such as 0.1, 0.5, 0.9")
        found: np.ndarray = path_quantiles(self.paths[None], at)[:, 0]
        return found

    def most_likely(self) -> int:
        """Number of the path of the highest log-density.

        Raises:
            PerrinError: a forecast without log-densities.
        """
        return int(np.nanargmax(self._densities()))

    def least_likely(self) -> int:
        """Number of the path of the lowest log-density."""
        return int(np.nanargmin(self._densities()))

    def most_extreme(self) -> int:
        """Number of the path that is furthest out over all columns and steps, by ranks; see `ranking`."""
        return int(np.argmax(extremity(self.paths)))

    def highest(self, column: str | int = 0) -> int:
        """Number of the path that runs highest in a column, by its mean normal score over the steps."""
        return int(np.argmax(height(self.paths, self._column(column))))

    def lowest(self, column: str | int = 0) -> int:
        """Number of the path that runs lowest in a column."""
        return int(np.argmin(height(self.paths, self._column(column))))

    def by_likelihood(self) -> np.ndarray:
        """Numbers of all paths [n], the likeliest first."""
        found: np.ndarray = np.argsort(-self._densities(), kind="stable")
        return found

    def probability(self, event: Event | str) -> tuple[float, float]:
        """(share of the paths in which the event happens, its standard error).

        The error is that of so many paths, not of the model; see `ranking.share`.
        """
        asked = parse_event(event, self.names) if isinstance(event, str) else event
        return share(asked.holds(self.paths))

    def picture(self) -> Image:
        """The fan chart: bands, median and some paths after the end of the history."""
        drawn = fan_chart(
            [w.rows(max(w.shape[1] - self.horizon - self.shown, 0), w.shape[1]) for w in self.windows]
        )
        assert drawn is not None  # there is at least one path
        return drawn

    @property
    def shown(self) -> int:
        """Rows of history that pictures show."""
        return max(SHOWN * self.horizon, 30)

    def page(self) -> str:
        """The fan chart as one HTML page to explore; it needs no network."""
        from perrin.forecasting.page import fan_page

        return fan_page(self)

    def save(self, path: str | Path, format: str = "csv") -> list[Path]:
        """Write a folder of everything, or the paths alone (`.csv`, `.csv.gz`, `.parquet`), a `.png` or an `.html`.

        Raises:
            PerrinError: another kind of file, or one that cannot be written.
        """
        from perrin.forecasting.writing import save_forecast

        return save_forecast(self, Path(path), format)

    def _densities(self) -> np.ndarray:
        if self.log_prob is None:
            raise PerrinError(
                "this forecast has no log-densities; ask for them with likelihood='bound' or 'ode'"
            )
        values: np.ndarray = self.log_prob.value.detach().cpu().double().numpy()
        if np.isnan(values).all():
            raise PerrinError("no path of this forecast has a log-density: none of them converged")
        return values

    def _column(self, column: str | int) -> int:
        if isinstance(column, int) and -len(self.names) <= column < len(self.names):
            return column
        if column in self.names:
            return self.names.index(str(column))
        raise PerrinError(f"column {column!r} is not one of {', '.join(self.names)}")
