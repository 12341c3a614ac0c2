"""Pictures of a trial: forecasts of some windows with what came true on top, and histograms of transforms."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from perrin.forecasting.calibration import Calibration
from perrin.forecasting.trials import MODEL, Trial
from perrin.kinds.series.fan_chart import ALPHA, BANDS, COLOUR, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_WINDOWS = 4
MOST_COLUMNS = 4
HISTORY = 2.0
"""Rows before a window that are shown, in horizons."""
TRUTH = "#c0392b"


def window_chart(trial: Trial, name: str = MODEL) -> Image.Image:
    """Windows evenly spread over the trial (columns of the picture), a row of panels for each of the first columns."""
    result = trial.result
    count, rows = len(result.origins), min(len(trial.window.names), MOST_COLUMNS)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST_WINDOWS)).round().astype(int)).tolist()
    figure = _figure((2.75 * len(chosen), 0.7 + 1.7 * rows))
    panels = figure.subplots(rows, len(chosen), squeeze=False)
    for column, window in enumerate(chosen):
        for c in range(rows):
            axes = panels[c, column]
            _window(axes, trial, name, window, c)
            if column == 0:
                axes.set_ylabel(trial.window.names[c], fontsize=8)
            if c == rows - 1:
                _few_dates(axes, trial.window.times.dtype.kind == "M")
            else:
                axes.set_xticklabels([])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    shade(
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False
        )
    )
    return _drawn(figure)


def _window(axes: Axes, trial: Trial, name: str, window: int, c: int) -> None:
    paths, truth = trial.result.answers[name].paths[window, :, c], trial.result.truth[window, c]
    times = trial.times(window)
    before, values = trial.history(window, round(HISTORY * len(times)))
    for level in BANDS:
        low, high = np.quantile(paths, [(1 - level) / 2, (1 + level) / 2], axis=0)
        axes.fill_between(
            times, low, high, color=COLOUR, alpha=ALPHA, linewidth=0, label=f"{level:.0%} of paths"
        )
    axes.plot(times, np.median(paths, 0), color=COLOUR, linewidth=1, label="median")
    axes.plot(before, values[c], color="black", linewidth=0.8, label="history")
    axes.plot(times, truth, color=TRUTH, linewidth=1, label="what came true")
    axes.margins(x=0.01)
    axes.tick_params(labelsize=7)


def _few_dates(axes: Axes, dated: bool) -> None:
    from matplotlib import dates

    if dated:
        locator: Any = dates.AutoDateLocator(minticks=2, maxticks=4)  # type: ignore[no-untyped-call]
        form: Any = dates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(form)


def pit_chart(found: dict[str, Calibration]) -> Image.Image:
    """A histogram for each title: densities of bins, the band that holds all of them (bars), and 1 where all is well."""
    figure = _figure((3.3 * len(found), 2.5))
    for axes, (title, own) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True
    ):
        heights, low, high = own.histogram.heights, own.histogram.lower, own.histogram.upper
        edges = np.linspace(0, 1, len(heights) + 1)
        axes.stairs(heights, edges, color=COLOUR, fill=True, alpha=0.45)
        errors = np.stack([np.minimum(heights - low, heights), high - heights])
        middles = (edges[1:] + edges[:-1]) / 2
        axes.errorbar(middles, heights, errors, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
        axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
        axes.set_title(title, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("share of the paths below", fontsize=8)
        axes.tick_params(labelsize=7)
    return _drawn(figure)


def _figure(size: tuple[float, float]) -> Figure:
    # matplotlib without pyplot: no global figure, no choice of a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _drawn(figure: Figure) -> Image.Image:
    written = io.BytesIO()
    figure.savefig(written, format="png")
    with Image.open(written) as image:
        return image.convert("RGB")
