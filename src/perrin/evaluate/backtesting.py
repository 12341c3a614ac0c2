r"""Rolling windows: every forecaster answers the same questions about the past, and one table says how well.

    window w:   history = values[:, :o_w],   truth = values[:, o_w : o_w + H],   o_1 .. o_W evenly spaced

from the beginning of the held-out share of the data to its end. A forecaster is told the history alone; whatever it has
fitted, it fitted on the rows before the first origin. All figures carry the standard error over windows.

    result = backtest(values, {"mine": forecaster, **simple(values, origins, season)}, origins, horizon=24)
    print(result.text())
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.evaluate.simple_forecasts import Forecaster
from perrin.metrics import (
    Estimate,
    crps,
    energy_score,
    interval_coverage,
    mean_over_windows,
    quantile_loss,
    relative_to_size,
    sharpness,
    variogram_score,
    weighted_quantile_loss,
)
from perrin.metrics.paths import path_quantiles
from perrin.metrics.pinball import LEVELS
from perrin.registry import forecasters as known
from perrin.sample.noise import seed_of

SIMPLE = ("seasonal_naive", "seasonal_bootstrap", "random_walk", "bootstrap_walk", "ets", "arima")
FIGURES = ("loss", "crps", "energy", "variogram", "coverage_80", "coverage_50", "sharpness")


@dataclass(frozen=True)
class Answers:
    """What one forecaster said and what it cost.

    Attributes:
        paths: [W, n, C, H].
        figures: name -> estimate, see `figures_of`.
        seconds: CPU-seconds for a window.
    """

    paths: np.ndarray
    figures: dict[str, Estimate]
    seconds: float


@dataclass(frozen=True)
class Backtest:
    """The same windows for all: `origins` [W], `truth` [W, C, H], `answers` by forecaster."""

    origins: np.ndarray
    truth: np.ndarray
    answers: dict[str, Answers]

    def best(self, figure: str = "loss", among: Iterable[str] | None = None) -> str:
        """The forecaster with the least of a figure."""
        return min(among or self.answers, key=lambda name: self.answers[name].figures[figure].value)

    @property
    def overlapping(self) -> bool:
        """Whether neighbouring windows share rows, so that standard errors are too small."""
        return bool(len(self.origins) > 1 and np.diff(self.origins).min() < self.truth.shape[-1])

    def gain(self, mine: str, other: str) -> Estimate:
        """How much less mine loses than another, as a share: 0.05 is 5 % below. Windows are paired."""
        size = np.nansum(np.abs(self.truth), -1)
        losses = [np.nansum(_column_loss(self.answers[n].paths, self.truth), -1) for n in (mine, other)]
        ratio = [(loss / size.sum(0)).mean(1) for loss in losses]  # what each window adds to the loss
        value = 1 - ratio[0].sum() / ratio[1].sum()
        rest = (ratio[0] - (1 - value) * ratio[1]) / ratio[1].mean()
        count = len(rest)
        return Estimate(float(value), float(rest.std(ddof=1) / count**0.5) if count > 1 else float("nan"))

    def rows(self) -> list[dict[str, Any]]:
        """One JSON-able row a forecaster: its figures, each with `_stderr`, and CPU-seconds a window."""
        found = []
        for name, answers in self.answers.items():
            row: dict[str, Any] = {"method": name}
            for figure, (value, stderr) in answers.figures.items():
                row[figure], row[f"{figure}_stderr"] = value, None if np.isnan(stderr) else stderr
            found.append({**row, "seconds": answers.seconds})
        return found

    def text(self) -> str:
        """The table as Markdown, the best loss first."""
        names = sorted(self.answers, key=lambda n: self.answers[n].figures["loss"].value)
        lines = ["| method | " + " | ".join(FIGURES) + " | s/window |", "| --- " * (len(FIGURES) + 2) + "|"]
        for name in names:
            own = self.answers[name]
            cells = [f"{value:.4f} ± {stderr:.4f}" for value, stderr in (own.figures[f] for f in FIGURES)]
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {own.seconds:.3f} |")
        if self.overlapping:
            lines.append(
                "\nWindows overlap: they are not independent, and the true errors are larger than these."
            )
        return "\n".join(lines)


def evenly_spaced(length: int, horizon: int, windows: int, share: float = 0.2) -> np.ndarray:
    """Origins [W] of windows: the first at the beginning of the last `share` of the rows, the last at their end.

    Raises:
        PerrinError: a share, a horizon or a number of windows that the data do not hold.
    """
    if not 0 < share < 1:
        raise PerrinError(f"share = {share} must lie between 0 and 1, such as 0.2 for the last fifth")
    first, last = round(length * (1 - share)), length - horizon
    if horizon < 1 or last < first or first < 1:
        raise PerrinError(
            f"the last {share:.0%} of {length:,} rows hold no window of {horizon} steps; shorten the horizon"
        )
    if not 1 <= windows <= last - first + 1:
        raise PerrinError(
            f"{windows} windows: there are 1 to {last - first + 1} origins in the last {share:.0%} of the rows"
        )
    return np.unique(np.round(np.linspace(first, last, windows)).astype(np.int64))


def simple(
    values: np.ndarray,
    origins: np.ndarray,
    season: int,
    methods: Iterable[str] = SIMPLE,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Forecaster]:
    """The simple methods, each fitted once on the rows before the first origin.

    Args:
        values: [C, T]; season: steps of the main cycle; methods: names of `registry.forecasters`.
        progress: called with (method, columns fitted, columns in all).
    """
    training, found = values[:, : int(origins[0])], dict[str, Forecaster]()
    for name in methods:
        report = None if progress is None else lambda done, total, name=name: progress(name, done, total)
        found[name] = known[name].fit(training, season, report)
    return found


def backtest(
    values: np.ndarray,
    forecasters: Mapping[str, Forecaster],
    origins: np.ndarray,
    *,
    horizon: int,
    paths: int = 100,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Backtest:
    """Ask every forecaster at every origin, and score the answers.

    Args:
        values: [C, T], NaN where a value is missing, which then counts for nothing.
        forecasters: by name; each is asked with a seed of its own for every window.
        origins: [W] rows at which the windows begin, as `evenly_spaced` gives them; paths: how many futures.
        progress: called with (forecaster, windows done, windows in all).

    Raises:
        PerrinError: a window beyond the data, or an answer of another shape or with NaN.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or int(origins[-1]) + horizon > values.shape[1] or int(origins[0]) < 1:
        raise PerrinError(
            f"values {values.shape} must be [columns, rows] with rows for origins {origins[0]} to {origins[-1]} and "
            f"{horizon} steps after them"
        )
    truth = np.stack([values[:, o : o + horizon] for o in origins])
    scale = _deviation(values[:, : int(origins[0])])
    answers = {}
    for name, forecaster in forecasters.items():
        drawn, began = [], time.process_time()
        for window, origin in enumerate(origins):
            asked = seed_of((seed, window), "", "backtest") % 2**63
            found = np.asarray(forecaster(values[:, :origin].copy(), horizon, paths, asked))
            _check(found, (paths, len(values), horizon), name, window)
            drawn.append(found)
            if progress is not None:
                progress(name, window + 1, len(origins))
        seconds = (time.process_time() - began) / len(origins)
        stacked = np.stack(drawn)
        answers[name] = Answers(stacked, figures_of(stacked, truth, scale), seconds)
    return Backtest(np.asarray(origins), truth, answers)


def figures_of(paths: np.ndarray, truth: np.ndarray, scale: np.ndarray) -> dict[str, Estimate]:
    """All figures of paths [W, n, C, H] against truth [W, C, H].

    `loss` (weighted quantile loss), `crps` and `sharpness` (80 %) are relative to sums of |truth|; `energy` and
    `variogram` have columns divided by `scale` [C]; `coverage_80` and `coverage_50` are shares.
    """
    single = crps(paths, truth)
    return {
        "loss": weighted_quantile_loss(paths, truth),
        "crps": relative_to_size(np.nansum(single, -1), np.nansum(np.abs(truth), -1)),
        "energy": mean_over_windows(energy_score(paths, truth, scale)),
        "variogram": mean_over_windows(variogram_score(paths, truth, scale)),
        "coverage_80": interval_coverage(paths, truth, 0.8),
        "coverage_50": interval_coverage(paths, truth, 0.5),
        "sharpness": sharpness(paths, truth),
    }


def _column_loss(paths: np.ndarray, truth: np.ndarray) -> np.ndarray:
    found: np.ndarray = quantile_loss(path_quantiles(paths, np.asarray(LEVELS)), truth, LEVELS).mean(0)
    return found


def _deviation(training: np.ndarray) -> np.ndarray:
    deviation = np.nanstd(training, axis=1)
    return np.where(deviation > 0, deviation, 1.0)


def _check(found: np.ndarray, shape: tuple[int, ...], name: str, window: int) -> None:
    if found.shape != shape:
        raise PerrinError(
            f"{name} answered window {window} with {found.shape}, not [paths, columns, steps] = {shape}"
        )
    if not np.isfinite(found).all():
        raise PerrinError(f"{name} answered window {window} with NaN or infinity")
