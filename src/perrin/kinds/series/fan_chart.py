"""Futures as a picture: history, quantile bands, median and some paths, a panel for each column."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from perrin.kinds.series.window import SeriesWindow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

BANDS = (0.95, 0.8, 0.5)
MOST_PANELS = 12
MOST_PATHS = 5
MOST_LINES = 24
COLOUR = "#2a6f97"
ALPHA = 0.22


def fan_chart(windows: Sequence[SeriesWindow]) -> Image.Image | None:
    """Windows of the same times as bands about what is given; windows of different times as lines.

    Bands hold 50, 80 and 95 % of the paths, the line is their median. None without windows.
    """
    if not len(windows):
        return None
    # matplotlib without pyplot: no global figure, no choice of a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first = windows[0]
    panels = min(len(first.names), MOST_PANELS)
    figure = Figure(figsize=(9, 1.2 + 2.2 * panels), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    one_question = all(np.array_equal(w.times, first.times) for w in windows)
    for c in range(panels):
        axes = figure.add_subplot(panels, 1, c + 1)
        (_bands if one_question and len(windows) > 1 else _lines)(axes, windows, c)
        axes.set_ylabel(first.names[c])
        axes.margins(x=0.01)
        if c == 0 and one_question and len(windows) > 1:
            shade(axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, fontsize=8, frameon=False))
    if first.times.dtype.kind == "M":
        figure.autofmt_xdate()
    written = io.BytesIO()
    figure.savefig(written, format="png")
    with Image.open(written) as image:
        return image.convert("RGB")


def shade(legend: Legend) -> None:
    """Bands lie upon one another: the patches of a legend that begins with them as dark as they are drawn."""
    for depth, handle in enumerate(legend.legend_handles[: len(BANDS)], 1):
        if handle is not None:
            handle.set_alpha(1 - (1 - ALPHA) ** depth)


def _bands(axes: Axes, windows: Sequence[SeriesWindow], c: int) -> None:
    first = windows[0]
    values = np.stack([w.values[c] for w in windows])
    given = np.zeros(len(first.times), bool) if first.given is None else first.given[c]
    drawn = np.isfinite(values).all(0) & ~given
    for level in BANDS:
        low, high = np.quantile(np.where(drawn, values, 0), [(1 - level) / 2, (1 + level) / 2], axis=0)
        axes.fill_between(
            first.times, np.where(drawn, low, np.nan), np.where(drawn, high, np.nan), step=None,
            color=COLOUR, alpha=ALPHA, linewidth=0, label=f"{level:.0%} of {len(windows)} paths",
        )  # fmt: skip
    joined = drawn | np.roll(drawn, -1) | np.roll(drawn, 1)  # paths begin at what is given beside them
    for row in values[:MOST_PATHS]:
        axes.plot(first.times, np.where(joined, row, np.nan), color=COLOUR, alpha=0.35, linewidth=0.7)
    axes.plot(first.times, np.where(joined, np.median(values, 0), np.nan), color=COLOUR, label="median")
    axes.plot(first.times, np.where(given, values[0], np.nan), color="black", linewidth=1, label="given")


def _lines(axes: Axes, windows: Sequence[SeriesWindow], c: int) -> None:
    same = all(np.array_equal(w.times, windows[0].times) for w in windows)
    for window in windows[:MOST_LINES]:
        at = window.times if same else np.arange(len(window.times))
        axes.plot(at, window.values[c], linewidth=0.8, alpha=0.7)
