"""The judge of the kind `series`: a model's forecasts of held-out windows, against the simple methods.

All series of the data take part, a share of the windows each; figures are over all windows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.backtesting import SIMPLE, Answers, Backtest, evenly_spaced, figures_of
from perrin.evaluate.case import Case, Judged
from perrin.forecasting.trial_page import figures_of_trial, pictures_of, table_of_methods, words_of
from perrin.forecasting.trials import Trial, tried
from perrin.kinds.series.parts import Part, SeriesData

WINDOWS = 50
RANKED = 20
"""Paths a window whose log-densities are measured."""
MOST_SERIES = 8


def judged(case: Case) -> Judged:
    """Figures, fan charts of held-out windows with what came true, and histograms of transforms.

    `case.count` is the number of paths of a window.
    """
    codec: Any = case.model.codec
    test = case.test
    assert isinstance(test, SeriesData)
    parts = [p for p in test.parts if p.window.shape[1] - p.start >= codec.horizon]
    if not parts:
        longest = max(p.window.shape[1] - p.start for p in test.parts)
        raise PerrinError(
            f"the longest held-out series has {longest:,} rows, and this model forecasts {codec.horizon}: hold more out"
        )
    chosen = [parts[i] for i in np.unique(np.linspace(0, len(parts) - 1, MOST_SERIES).astype(int))]
    trials = [_of(case, part, -(-WINDOWS // len(chosen))) for part in chosen]
    trial = joined(trials)
    figures = figures_of_trial(trial)
    figures["counts"] = {"windows": len(trial.result.origins), "series": len(chosen)}
    drawn = case.sample(
        case.count,
        "sampling",
        task="forecast",
        history=_history(chosen[-1], codec.horizon),
        horizon=codec.horizon,
    )
    pictures = pictures_of(trial)
    fragments = {"All methods": table_of_methods(trial)}
    return Judged(drawn, figures, ".csv", pictures, {"Calibration": words_of(trial)}, fragments)


def _history(part: Part, horizon: int) -> Any:
    """Everything but the last window of a series, which is then drawn; covariates of it are known."""
    window = part.window
    values = window.values.copy()
    values[:, -horizon:] = np.nan
    return replace(window, values=values) if len(window.known) else window.rows(0, window.shape[1] - horizon)


def _of(case: Case, part: Part, windows: int) -> Trial:
    codec: Any = case.model.codec
    rows, horizon = part.window.shape[1], codec.horizon
    first = max(part.start, 1)
    count = min(windows, rows - horizon - first + 1)
    origins = evenly_spaced(rows, horizon, count, 1 - first / rows)
    drawing = {name: v for name, v in case.options.items() if name != "seed" and v is not None}
    return tried(
        part.window, horizon, origins, model=case.model, methods=SIMPLE, season=codec.frequency.season,
        paths=case.count, seed=case.options["seed"], ranked=RANKED, drawing=drawing, progress=case.progress,
    )  # fmt: skip


def joined(trials: list[Trial]) -> Trial:
    """Trials of several series with the same columns as one; its pictures are of the last windows of each."""
    if len(trials) == 1:
        return trials[0]
    truth = np.concatenate([t.result.truth for t in trials])
    scale = np.nanstd(np.concatenate([t.window.values[:, : t.result.origins[0]] for t in trials], 1), axis=1)
    answers = {}
    for name in trials[0].result.answers:
        paths = np.concatenate([t.result.answers[name].paths for t in trials])
        seconds = float(np.mean([t.result.answers[name].seconds for t in trials]))
        answers[name] = Answers(paths, figures_of(paths, truth, np.where(scale > 0, scale, 1.0)), seconds)
    # one series after the other: the rows of the next begin where those of the last end
    starts = np.cumsum([0, *(t.window.shape[1] for t in trials[:-1])])
    origins = np.concatenate([t.result.origins + s for t, s in zip(trials, starts, strict=True)])
    first = trials[0].window
    whole = replace(
        first,
        times=np.concatenate([t.window.times for t in trials]),
        values=np.concatenate([t.window.values for t in trials], 1),
        known=np.concatenate([t.window.known for t in trials], 1),
    )
    ranks = [t.ranks for t in trials if t.ranks is not None]
    joint = np.concatenate(ranks) if len(ranks) == len(trials) else None
    return Trial(
        whole, Backtest(origins, truth, answers), joint, {**trials[0].about, "windows": len(origins)}
    )
