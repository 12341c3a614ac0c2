"""A model tried on the past, against the simple methods: the same windows, every figure with its error over windows.

Windows begin after the last row that the model learned: figures of rows that it has seen say nothing of the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.backtesting import Backtest, backtest, evenly_spaced, simple
from perrin.evaluate.simple_forecasts import Forecaster
from perrin.forecasting.forecaster import ModelForecaster
from perrin.kinds.series.frequency import shown
from perrin.kinds.series.window import SeriesWindow
from perrin.metrics import Estimate, pit
from perrin.model import Model
from perrin.sample.noise import seed_of

MODEL = "model"
SHARE = 0.2
"""Of the rows, the last, in which windows lie where nothing else is said."""
RANKED: dict[str, Any] = {"method": "bound", "samples": 32}
"""Log-densities that are ranked: estimates serve, since those of the truth and of the paths have the same errors."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Trial:
    """Answers of a model and of simple methods at the same origins.

    Attributes:
        window: the whole series. result: the backtest.
        ranks: probability integral transforms [W] of the rank of what came true among the paths by log-density; None
            where they were not asked for.
        about: JSON-able facts: model, horizon, paths, season, notes of the data.
    """

    window: SeriesWindow
    result: Backtest
    ranks: np.ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def modelled(self) -> bool:
        """Whether a model took part."""
        return MODEL in self.result.answers

    @property
    def rivals(self) -> list[str]:
        """The simple methods."""
        return [name for name in self.result.answers if name != MODEL]

    @property
    def gain(self) -> tuple[str, Estimate] | None:
        """(the simple method with the least loss, the share by which the model loses less); None without both."""
        if not self.modelled or not self.rivals:
            return None
        best = self.result.best("loss", self.rivals)
        return best, self.result.gain(MODEL, best)

    def pit(self, name: str = MODEL) -> np.ndarray:
        """Probability integral transforms [W, C, H] of what came true among the paths of a forecaster."""
        return pit(self.result.answers[name].paths, self.result.truth)

    def history(self, window: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """(times, values [C, rows]) before the origin of a window."""
        origin = int(self.result.origins[window])
        own = slice(max(origin - rows, 0), origin)
        return self.window.times[own], self.window.values[:, own]

    def times(self, window: int) -> np.ndarray:
        """The times of what was forecast in a window, [H]."""
        origin = int(self.result.origins[window])
        found: np.ndarray = self.window.times[origin : origin + self.result.truth.shape[-1]]
        return found


def origins_of(
    window: SeriesWindow, horizon: int, windows: int, share: float | None = None, model: Model | None = None
) -> np.ndarray:
    """Rows [W] at which windows begin: in the last `share` of the rows, and after all that the model learned.

    Args:
        share: .2 by default, or less where the model learned more than the rest.

    Raises:
        PerrinError: a share that holds rows that the model learned, or too few rows after them.
    """
    rows = window.shape[1]
    learned = 0 if model is None else learned_rows(window, model)
    end = f"the model learned rows up to {shown(window.times[learned - 1])}" if learned else ""
    if share is not None and round(rows * (1 - share)) < learned:
        raise PerrinError(
            f"{end} (row {learned:,} of {rows:,}), and windows of the last {share:.0%} begin before: its figures there "
            f"would say nothing; leave the share out, or train with held_out: {share:g}"
        )
    first = max(learned, round(rows * (1 - (SHARE if share is None else share))))
    if rows - first < horizon and learned:
        raise PerrinError(
            f"{end}, and {rows - learned:,} come after: no window of {horizon} steps that it has not seen; train with "
            "held_out: 0.2, or leave the model out, so that one is trained on the rows before the windows"
        )
    if rows - first < horizon:
        raise PerrinError(
            f"the last {rows - first:,} rows hold no window of {horizon} steps; shorten the horizon"
        )
    most = rows - horizon - first + 1
    return evenly_spaced(rows, horizon, min(windows, most), 1 - first / rows)


def learned_rows(window: SeriesWindow, model: Model) -> int:
    """How many rows of a series come up to the last one that a model learned."""
    codec: Any = model.codec
    end = codec.end if codec.unit == "rows" else np.datetime64(codec.end, "us")
    return int((window.times <= end).sum())


def tried(
    window: SeriesWindow,
    horizon: int,
    origins: np.ndarray,
    *,
    model: Model | None = None,
    methods: Iterable[str] = (),
    season: int = 1,
    paths: int = 100,
    seed: int = 0,
    ranked: int = 0,
    drawing: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Trial:
    """The backtest of a model, where there is one, and of simple methods at these origins.

    Args:
        season: steps of the main cycle. ranked: of how many paths a window the log-densities are measured.
        drawing: options of `Model.sample`.
    """
    told = progress or (lambda *_: None)
    asked: dict[str, Forecaster] = {}
    own = None if model is None else ModelForecaster.of(model, window, **(drawing or {}))
    if own is not None and model is not None:
        codec: Any = model.codec
        codec.checked(window, "the series")  # values that a transform does not take, before anything is drawn
        asked[MODEL] = own
    fitting = None if progress is None else lambda name, done, total: told(f"fitting {name}", done, total)
    asked |= simple(window.values, origins, season, methods, fitting)
    if not asked:
        raise PerrinError("nothing to try: give a model or simple methods")
    result = backtest(
        window.values, asked, origins, horizon=horizon, paths=paths, seed=seed, progress=progress
    )
    ranks = None
    if own is not None and ranked:
        ranks = likelihood_ranks(own, window.values, result, ranked, seed, told)
    about = {"horizon": horizon, "windows": len(origins), "paths": paths, "season": season, "seed": seed}
    return Trial(window, result, ranks, about)


def likelihood_ranks(
    forecaster: ModelForecaster,
    values: np.ndarray,
    result: Backtest,
    paths: int,
    seed: int,
    told: Progress = lambda *_: None,
) -> np.ndarray:
    """PIT [W] of the rank of the truth's log-density among those of so many new paths, NaN where nothing is known."""
    densities, truths = [], []
    for number, (origin, truth) in enumerate(zip(result.origins, result.truth, strict=True)):
        own = seed_of((seed, number), "", "ranks") % 2**63
        windows = forecaster.windows(values[:, :origin], truth, paths, own)
        found = forecaster.model.log_prob(windows, seed=own, **RANKED).value.double().numpy()
        truths.append(found[0] if not np.isnan(truth).all() else np.nan)
        densities.append(found[1:])
        told("log-densities", number + 1, len(result.origins))
    return pit(np.stack(densities), np.array(truths), seed)
