"""What a codec measures of training series: sizes of windows, transforms, scales and levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from perrin.contracts import Batch, Dataset, Item
from perrin.errors import PerrinError
from perrin.kinds.series.encoding import Scaling
from perrin.kinds.series.parts import SeriesData, Windows
from perrin.kinds.series.transforms import Chain, fitted_chain
from perrin.registry import unknown

MOST = 256
"""Windows of which the states' deviation is measured."""


class Encodes(Protocol):
    """A codec that is measured already but for the deviation of its states."""

    def encode(self, items: Sequence[Item], seeds: Sequence[int] | None = None) -> Batch: ...


def whole_series(dataset: Dataset) -> SeriesData:
    """The series of a dataset that `open_series` made, or of its windows.

    Raises:
        PerrinError: none, or series with other columns.
    """
    data = dataset.data if isinstance(dataset, Windows) else dataset
    if not isinstance(data, SeriesData) or not len(data):
        raise PerrinError("the dataset holds no time series")
    names = data.parts[0].window.names
    for part in data.parts:
        if part.window.names != names:
            raise PerrinError(
                f"series {part.window.series!r} has columns {', '.join(part.window.names)}, others {', '.join(names)}"
            )
    return data


def sizes(data: SeriesData, horizon: int | None, context: int | None) -> tuple[int, int]:
    """(horizon, context) as asked for, or chosen by the season within the shortest series.

    Raises:
        PerrinError: numbers below one, or a window longer than the longest series.
    """
    rows = [part.own.shape[1] for part in data.parts]
    season = data.frequency.season
    for name, number in (("horizon", horizon), ("context", context)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
            raise PerrinError(f"{name} = {number!r} must be a whole number of rows of at least 1")
    if horizon is not None and horizon >= max(rows):
        raise PerrinError(
            f"horizon = {horizon} is longer than the data, which have {max(rows):,} training rows"
        )
    horizon = horizon or max(min(season if 2 < season <= 60 else 30, min(rows) // 5), 1)
    wanted = context or max(min(7 * season if season > 1 else 90, 512), 3 * horizon)
    longest = max(rows) - horizon
    if context is not None and context > longest:
        raise PerrinError(
            f"context {context} + horizon {horizon} rows are longer than the data, which have {max(rows):,} training rows"
        )
    return horizon, max(min(wanted, max(min(rows) - horizon, 1)) if context is None else context, 1)


def chains(data: SeriesData, transform: Any) -> tuple[Chain, ...]:
    """The fitted chain of every column.

    Raises:
        PerrinError: a column or transform that is not known, or values that it does not take, with the row.
    """
    names = data.parts[0].window.names
    if isinstance(transform, dict):
        for column in transform:
            if column not in names:
                raise unknown("column to transform", column, names)
    asked = transform if isinstance(transform, dict) else dict.fromkeys(names, transform)
    found = []
    for c, name in enumerate(names):
        chosen = asked.get(name, "identity")
        values = [part.own.values[c] for part in data.parts]
        found.append(fitted_chain(chosen, values, name))
    made = tuple(found)
    unscaled = Scaling(made, np.zeros(len(names)), np.ones(len(names)))
    for part in data.parts:
        own = part.own
        unscaled.refuse(own.values, names, own.times, f"series {own.series}" if own.series else "the data")
    return made


def scaling(data: SeriesData, chains: tuple[Chain, ...]) -> Scaling:
    """Median and mean absolute deviation (as a standard deviation) of all transformed values."""
    size = len(chains)
    unscaled = Scaling(chains, np.zeros(size), np.ones(size))
    parts = [
        unscaled.forward(np.concatenate([o.before[:, None], o.values], 1)[None])[0]
        for o in (p.own for p in data.parts)
    ]
    location, scale = np.zeros(size), np.ones(size)
    for c in range(size):
        known = np.concatenate([x[c][~np.isnan(x[c])] for x in parts])
        location[c] = np.median(known)
        spread = np.sqrt(np.pi / 2) * np.abs(known - location[c]).mean()
        scale[c] = spread or 1.0
    return Scaling(chains, location, scale)


def levels(data: SeriesData) -> list[float]:
    """The last known value of every column, the median over series."""
    last = [[row[~np.isnan(row)][-1:].tolist() for row in part.own.values] for part in data.parts]
    return [float(np.median([row[0] for rows in last if (row := rows[c])])) for c in range(len(last[0]))]


def last_time(data: SeriesData) -> str | int:
    """The last training time, or its row."""
    last = max(part.own.times[-1] for part in data.parts)
    return str(last) if isinstance(last, np.datetime64) else int(last)


def moments(parts: Sequence[np.ndarray]) -> list[list[float]]:
    """(mean, deviation) of every row of arrays [K, T]; a deviation of 1 where nothing changes."""
    joined = np.concatenate(parts, axis=1)
    found = []
    for row in joined:
        known = row[~np.isnan(row)]
        spread = float(known.std()) if len(known) else 0.0
        found.append([float(known.mean()) if len(known) else 0.0, spread or 1.0])
    return found


def spread(codec: Encodes, windows: Dataset) -> float:
    """Standard deviation of the entries that are drawn, over up to 256 windows at their tasks."""
    chosen = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), MOST)).astype(int)).tolist()
    batch = codec.encode([windows[i] for i in chosen], chosen)
    assert batch.masks is not None
    learned = batch.masks.learned
    held = batch.state[learned].double() if learned is not None else batch.state.double()
    # robust: a handful of wild values must not make the rest look small to the network
    held = held.clamp(-10, 10)
    return float(held.std()) if len(held) > 1 and float(held.std()) > 1e-6 else 1.0
