"""A trained model of series as one of the forecasters that a backtest asks: it is told the history, and nothing after it.

forecaster = ModelForecaster.of(model, dataset)
backtest(values, {"model": forecaster, **simple(values, origins, season)}, origins, horizon=24)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from perrin.errors import PerrinError
from perrin.forecasting.rolling import blocks, completed, last_value, roll
from perrin.forecasting.runs import chosen
from perrin.kinds.series.outlining import ahead
from perrin.kinds.series.parts import SeriesData
from perrin.kinds.series.window import SeriesWindow
from perrin.model import Model


@dataclass(frozen=True)
class ModelForecaster:
    """Paths of a model (`simple_forecasts.Forecaster`).

    Attributes:
        times: of all rows of the series, [T], and known: covariates that are known for the future, [K, T]. A forecast
            from row t on reads those up to its last step; of values it has the history that it is given.
        static, series: of the series. options: of `Model.sample`, such as {"steps": 20}.
    """

    model: Model
    times: np.ndarray
    known: np.ndarray
    static: np.ndarray
    series: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, data: SeriesData | SeriesWindow, of: str | None = None, **options: Any) -> Self:
        """For one series of a dataset, or a whole series.

        Raises:
            PerrinError: a model of another kind, columns or frequency; several series and none named.
        """
        window = data if isinstance(data, SeriesWindow) else chosen(data, of, model)
        if getattr(model.codec, "kind", None) != "series":
            raise PerrinError(
                f"this is a model of {getattr(model.codec, 'kind', '?')}; series need one of kind series"
            )
        return cls(model, window.times, window.known, window.static, window.series, options)

    def __call__(self, history: np.ndarray, horizon: int, paths: int, seed: int) -> np.ndarray:
        """Paths `[paths, C, horizon]`.

        Args:
            history: [C, t], the first t rows of the series, NaN where a value is missing.
        """
        past, late = self.past(history, horizon)
        drawn = roll(self.model, past, late + horizon, paths, seed, **self.options)
        return np.stack([window.values[:, -horizon:] for window in drawn])

    def past(self, history: np.ndarray, horizon: int) -> tuple[SeriesWindow, int]:
        """(the rows that a model looks at, rows without any value at their end): the latter are drawn too.

        Raises:
            PerrinError: a history of other columns, or without a value.
        """
        codec: Any = self.model.codec
        values, t = np.asarray(history, np.float64), history.shape[1]
        if values.ndim != 2 or len(values) != len(codec.names) or t > len(self.times):
            raise PerrinError(
                f"a history {np.shape(history)} must be [columns, rows] of {', '.join(codec.names)}, at most "
                f"{len(self.times):,} rows"
            )
        end = t + horizon if len(self.known) else t
        empty = np.full((len(values), end - t), np.nan)
        whole = SeriesWindow(
            tuple(codec.names), self.times[:end], np.concatenate([values, empty], 1),
            np.full(len(values), np.nan), known=self.known[:, :end], static=self.static, series=self.series,
        )  # fmt: skip
        last = last_value(whole)
        return whole.rows(max(last - codec.context, 0), end), t - last

    def windows(self, history: np.ndarray, truth: np.ndarray, paths: int, seed: int) -> list[SeriesWindow]:
        """What came true, [C, H], and then so many paths, as windows for `Model.log_prob`.

        Of values that are not known (NaN in truth) the density of no window says anything.

        Raises:
            PerrinError: more steps than the model draws at once, or a history that ends in a gap.
        """
        codec: Any = self.model.codec
        past, late = self.past(history, truth.shape[1])
        if late or truth.shape[1] > codec.horizon:
            raise PerrinError(
                f"the density of {late + truth.shape[1]} steps at once: this model draws 1 to {codec.horizon}"
            )
        block = next(blocks(self.model, past, truth.shape[1], paths, seed, **self.options))
        form = ahead(codec, replace(past, given=None), truth.shape[1])
        true = np.concatenate([form.values[:, : -truth.shape[1]], truth], 1)
        known = ~np.isnan(true)
        drawn = [replace(w, values=np.where(known, w.values, np.nan)) for w in block.windows]
        return [completed(form, true, truth.shape[1]), *drawn]
