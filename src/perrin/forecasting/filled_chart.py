"""Filled gaps as a picture: what is given, and where it is missing the median and the 80 and 50 % intervals."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from perrin.kinds.series.fan_chart import COLOUR, MOST_PANELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from perrin.forecasting.imputing import Imputation

MOST_ROWS = 500
"""Rows of a picture; of a longer series those about its longest gap."""
INTERVALS = (0.8, 0.5)


def filled_chart(found: Imputation) -> Image.Image:
    """A panel for each column, gaps in colour."""
    # matplotlib without pyplot: no global figure, no choice of a display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    start, stop = stretch(found)
    panels = min(len(found.series.names), MOST_PANELS)
    figure = Figure(figsize=(9, 1.2 + 2.2 * panels), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for c in range(panels):
        axes = figure.add_subplot(panels, 1, c + 1)
        _panel(axes, found, c, start, stop)
        axes.set_ylabel(found.series.names[c])
        axes.margins(x=0.01)
        if c == 0:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, fontsize=8, frameon=False)
    if stop - start < found.series.shape[1]:
        rows = f"rows {start + 1:,} to {stop:,} of {found.series.shape[1]:,}, about the longest gap"
        figure.suptitle(rows, fontsize=9)
    if found.series.times.dtype.kind == "M":
        figure.autofmt_xdate()
    written = io.BytesIO()
    figure.savefig(written, format="png")
    with Image.open(written) as image:
        return image.convert("RGB")


def stretch(found: Imputation) -> tuple[int, int]:
    """(first row, last + 1) of what is shown: everything, or the rows about the longest gap."""
    end = found.series.shape[1]
    if end <= MOST_ROWS:
        return 0, end
    longest, middle = 0, 0
    for c in np.unique(found.columns).tolist():
        rows = found.rows[found.columns == c]
        runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
        best = max(runs, key=len)
        if len(best) > longest:
            longest, middle = len(best), int(best[len(best) // 2])
    start = max(min(middle - MOST_ROWS // 2, end - MOST_ROWS), 0)
    return start, start + MOST_ROWS


def _panel(axes: Axes, found: Imputation, c: int, start: int, stop: int) -> None:
    times, given = found.series.times[start:stop], found.series.values[c, start:stop]
    own = (found.columns == c) & (found.rows >= start) & (found.rows < stop)
    rows = found.rows[own] - start
    median = np.full(stop - start, np.nan)
    if len(rows):
        median[rows] = found.quantiles((0.5,))[0, own]
        for level in INTERVALS:
            low, high = found.quantiles(((1 - level) / 2, (1 + level) / 2))[:, own]
            # a bar for each value: a gap of a single row would have no area
            axes.vlines(
                times[rows],
                low,
                high,
                color=COLOUR,
                alpha=0.35,
                linewidth=3,
                label=f"{level:.0%} of {len(found)} paths",
            )
    edge = ~np.isnan(median)
    joined = np.where(edge, median, np.where(np.roll(edge, 1) | np.roll(edge, -1), given, np.nan))
    axes.plot(times, joined, color=COLOUR, linewidth=1, marker=".", markersize=2, label="median of a gap")
    axes.plot(times, given, color="black", linewidth=1, label="given")
