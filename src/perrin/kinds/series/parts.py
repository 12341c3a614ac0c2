"""Datasets of series, split by time: what is held out comes after what is learned, never between.

A part knows the whole series and which of its rows are its own; the rows before them are its past, which windows of
held-out data may begin in, and nothing after its end is ever read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from perrin.contracts import Item
from perrin.errors import PerrinError
from perrin.kinds.labels import UNLABELLED
from perrin.kinds.series.frequency import Frequency
from perrin.kinds.series.window import SeriesWindow


@dataclass(frozen=True)
class Part:
    """Rows `start` .. of a series that ends where the part ends."""

    window: SeriesWindow
    start: int = 0

    @property
    def own(self) -> SeriesWindow:
        """The part's own rows."""
        return self.window.rows(self.start, self.window.shape[1])


@dataclass(frozen=True)
class SeriesData:
    """Whole series as items (`contracts.Dataset`); a codec cuts them into windows.

    Attributes:
        parts: one per series. frequency: of all of them. facts: part of `description`.
        classes, labels: names, and of each series its index; None without.
    """

    parts: list[Part]
    frequency: Frequency
    facts: dict[str, Any]
    classes: list[str] | None = None
    labels: np.ndarray | None = None

    @property
    def description(self) -> dict[str, Any]:
        """JSON-able facts: path, columns, frequency, notes of what was understood, the split, if any."""
        return {**self.facts, "count": len(self), "classes": self.classes, "skipped": 0}

    @property
    def skipped(self) -> list[str]:
        """None: columns that were left out are in `description["left_out"]`."""
        return []

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Item:
        if not -len(self) <= index < len(self):  # iteration ends by it
            raise IndexError(index)
        part = self.parts[index]
        return {"value": part.own, "label": self.label_of(index), "name": part.window.series or "the series"}

    def label_of(self, index: int) -> int | None:
        """The class of a series; None for none."""
        if self.labels is None or self.labels[index] == UNLABELLED:
            return None
        return int(self.labels[index])

    def split(self, held_out: float | int, seed: int) -> tuple[Self, Self]:
        """(training, held out): of every series the last rows are held out, a share or a number of them.

        Args:
            seed: not looked at, since the order of time leaves no choice.

        Raises:
            PerrinError: nothing would be left for training.
        """
        early, late = [], []
        for part in self.parts:
            end = part.window.shape[1]
            rows = end - part.start
            cut = end - (round(held_out * rows) if isinstance(held_out, float) else held_out)
            if not part.start + 1 < cut <= end or (isinstance(held_out, float) and not 0 <= held_out < 1):
                raise PerrinError(
                    f"cannot hold out {held_out!r} of {rows:,} rows; write a share below 1.0 or a number of rows"
                )
            early.append(Part(part.window.rows(0, cut), part.start))
            late.append(Part(part.window, cut))
        facts = {"held_out": held_out, "by": "time"}
        return (
            replace(self, parts=early, facts={**self.facts, "split": {"part": "train", **facts}}),
            replace(self, parts=late, facts={**self.facts, "split": {"part": "held out", **facts}}),
        )


@dataclass(frozen=True)
class Windows:
    """Windows of the parts of a dataset as items: every one whose last `horizon` rows are a part's own.

    `starts`: (part, first row) [n, 2].
    """

    data: SeriesData
    length: int
    starts: np.ndarray

    @property
    def classes(self) -> list[str] | None:
        """Those of the series."""
        return self.data.classes

    @property
    def description(self) -> dict[str, Any]:
        """That of the series, with the number of windows."""
        return {**self.data.description, "count": len(self), "series": len(self.data), "length": self.length}

    @property
    def skipped(self) -> list[str]:
        """Those of the series."""
        return self.data.skipped

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Item:
        part, start = (int(i) for i in self.starts[index])
        window = self.data.parts[part].window
        name = f"{window.series or 'row'} {start + 1}"
        return {
            "value": window.rows(start, start + self.length),
            "label": self.data.label_of(part),
            "name": name,
        }

    def apart(self, rows: int, n: int | None = None) -> Self:
        """Those of every series that begin `rows` apart, the last one among them; n of them, evenly spaced."""
        late = np.array(
            [self.starts[self.starts[:, 0] == p, 1].max(initial=0) for p in range(len(self.data))]
        )
        starts = self.starts[(late[self.starts[:, 0]] - self.starts[:, 1]) % rows == 0]
        if n is not None and n < len(starts):
            starts = starts[np.linspace(0, len(starts) - 1, n).round().astype(np.int64)]
        return replace(self, starts=starts)

    def split(self, held_out: float | int, seed: int) -> tuple[Self, Self]:
        """Refused: windows overlap, so that what is held out would be learned.

        Raises:
            PerrinError: always.
        """
        raise PerrinError("windows overlap: split the series by time before they are cut into windows")


def cut(data: SeriesData, context: int, horizon: int) -> Windows:
    """All windows of `context + horizon` rows of which the last `horizon` are a part's own and hold a value.

    Raises:
        PerrinError: series that are all shorter.
    """
    length, found = context + horizon, []
    for index, part in enumerate(data.parts):
        rows = part.window.shape[1]
        first = max(part.start + horizon - length, 0)
        starts = np.arange(first, rows - length + 1)
        known = np.concatenate([[0], np.cumsum((~np.isnan(part.window.values)).any(0))])
        starts = starts[known[starts + length] > known[starts + context]]
        found.append(np.stack([np.full(len(starts), index), starts], 1))
    windows = np.concatenate(found)
    if not len(windows):
        longest = max(part.window.shape[1] for part in data.parts)
        raise PerrinError(
            f"windows of context {context} + horizon {horizon} = {length} rows are longer than the data, which have "
            f"{longest:,}; shorten the horizon or the context"
        )
    return Windows(data, length, windows)
