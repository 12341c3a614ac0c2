r"""Gaps of a long series filled coherently: window after window, each path from its own filled past and what is given.

    p(gaps | given) ~ prod over windows of  p(gaps of the window | given values and gaps filled before, in the window)

Windows are as long as the model's. One begins a third of its length before the first open gap, and all gaps
in it are drawn; those in its last quarter are drawn again by the next window, which sees what comes after them. Given
values stay to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.series.window import SeriesWindow
from perrin.metrics.paths import path_quantiles
from perrin.model import Model
from perrin.sample.noise import seed_of

if TYPE_CHECKING:
    from PIL.Image import Image

LEAD, MARGIN = 3, 4
"""A window begins 1 / LEAD of its length before a gap; gaps in its last 1 / MARGIN are drawn again by the next one."""


@dataclass(frozen=True)
class Imputation:
    """A series whose gaps were filled many times.

    Attributes:
        series: as it was given, [C, T], NaN in the gaps.
        rows, columns: where the gaps are, [G] each, by row.
        drawn: what filled them, float64 [n, G].
        provenance: how, of all paths.
        about: facts: seconds, windows.
    """

    series: SeriesWindow
    rows: np.ndarray
    columns: np.ndarray
    drawn: np.ndarray
    provenance: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.drawn)

    def path(self, number: int) -> np.ndarray:
        """The whole series [C, T] with the gaps as one path fills them: gaps together, as they may have been."""
        return self._filled(self.drawn[number])

    def median(self) -> np.ndarray:
        """The whole series [C, T] with the median of every gap by itself."""
        return self._filled(self.quantiles((0.5,))[0])

    def quantiles(self, levels: tuple[float, ...]) -> np.ndarray:
        """Quantiles [L, G] of what filled each gap."""
        found: np.ndarray = path_quantiles(self.drawn[None], np.asarray(levels))[:, 0]
        return found

    def picture(self) -> Image | None:
        """The gaps' intervals and median among what is given."""
        from perrin.forecasting.filled_chart import filled_chart

        return filled_chart(self)

    def save(self, path: str | Path, format: str = "csv") -> list[Path]:
        """Write a folder: the filled table, every gap's median and 80 % interval, the paths, a picture, a summary."""
        from perrin.forecasting.filled_writing import save_imputation

        return save_imputation([self], Path(path), format)

    def _filled(self, values: np.ndarray) -> np.ndarray:
        whole = self.series.values.copy()
        whole[self.columns, self.rows] = values
        return whole


def impute(
    model: Model,
    series: SeriesWindow,
    *,
    samples: int = 50,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> Imputation:
    """Fill the gaps of a series of any length.

    Args:
        model: of the kind `series`, without differences. series: NaN in the gaps.
        samples, seed: path i is a function of (seed, i).
        progress: called with (what, rows done, rows in all).
        options: of `Model.sample`: steps, solver, batch, label, ...

    Raises:
        PerrinError: no gaps, or a model that cannot fill them.
    """
    codec: Any = model.codec
    gaps = np.isnan(series.values)
    _check(codec, gaps, series)
    began, length = time.process_time(), min(codec.context + codec.horizon, series.shape[1])
    values = np.repeat(series.values[None], samples, 0)
    windows, made, at, end = 0, dict[str, Any](), 0, series.shape[1]
    while (first := next_gap(gaps, at)) is not None:
        start, kept = placed(first, length, end)
        part = replace(series.rows(start, start + length), given=None)
        told = [replace(part, values=own, before=before) for own, before in _pasts(values, start, length)]
        # what an earlier window drew here without seeing what follows is drawn again
        redrawn = gaps[:, start : start + length] & (np.arange(start, start + length) >= first)
        for one in told:
            one.values[redrawn] = np.nan
        found = model.sample(samples, seed=_window_seed(seed, start), task="impute", history=told, **options)
        drawn = np.stack([window.values for window in found.decoded])
        place = values[:, :, start : start + length]
        place[:, redrawn] = drawn[:, redrawn]
        made = made or found.provenance[0]
        windows, at = windows + 1, kept
        if progress is not None:
            progress("filling gaps", min(at, end), end)
    rows, columns = np.nonzero(gaps.T)
    made = {k: v for k, v in made.items() if k not in ("index", "wanted")} | {"seed": seed, "paths": samples}
    about = {"windows": windows, "cpu_seconds": time.process_time() - began}
    return Imputation(series, rows, columns, values[:, columns, rows], made, about)


def next_gap(gaps: np.ndarray, at: int) -> int | None:
    """The first row from `at` on with a gap [C, T]; None where there is no more."""
    found = np.flatnonzero(gaps[:, at:].any(0))
    return at + int(found[0]) if len(found) else None


def placed(first: int, length: int, end: int) -> tuple[int, int]:
    """(first row of the window, the row from which gaps are drawn again) for a gap that begins at `first`."""
    start = max(min(first - length // LEAD, end - length), 0)
    stop = start + length
    kept = end if stop >= end else stop - length // MARGIN
    return start, kept


def _window_seed(seed: int, start: int) -> int:
    return seed_of((seed, start), "", "window") % 2**63


def _pasts(values: np.ndarray, start: int, length: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of every path [n, C, T] the window's values, to be changed, and the row before them."""
    before = values[:, :, start - 1] if start else np.full(values.shape[:2], np.nan)
    return [(own[:, start : start + length].copy(), row) for own, row in zip(values, before, strict=True)]


def _check(codec: Any, gaps: np.ndarray, series: SeriesWindow) -> None:
    if getattr(codec, "kind", None) != "series":
        raise PerrinError(
            f"gaps are filled by models of series; this one is of {getattr(codec, 'kind', '?')}"
        )
    where = f"series {series.series!r}" if series.series else "the series"
    if not gaps.any():
        raise PerrinError(f"{where} has no gap to fill: leave missing values empty, or their rows out")
    if gaps.all(1).any():
        name = series.names[int(np.flatnonzero(gaps.all(1))[0])]
        raise PerrinError(f"{where} has no value of column {name!r} at all")
