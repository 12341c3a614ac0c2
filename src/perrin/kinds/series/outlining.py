"""What is settled of windows before they are drawn: what is given of them, their times, and what the calendar says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from perrin.contracts import Batch, Outline
from perrin.errors import PerrinError
from perrin.kinds.labels import UNLABELLED, find_label
from perrin.kinds.series.encoding import Scaling, stacked
from perrin.kinds.series.frequency import Frequency, time_of
from perrin.kinds.series.scenarios import steered
from perrin.kinds.series.tasks import TASKS
from perrin.kinds.series.window import SeriesWindow, read_window
from perrin.process.state import Masks
from perrin.registry import unknown


class Holds(Protocol):
    """A codec of series: what is needed of it here."""

    @property
    def names(self) -> list[str]: ...
    @property
    def scaling(self) -> Scaling: ...
    @property
    def sigma_data(self) -> float: ...
    @property
    def context(self) -> int: ...
    @property
    def horizon(self) -> int: ...
    @property
    def classes(self) -> list[str] | None: ...
    @property
    def level(self) -> list[float]: ...
    @property
    def end(self) -> str | int: ...
    @property
    def frequency(self) -> Frequency: ...
    @property
    def differences(self) -> bool: ...
    @property
    def known(self) -> list[list[float]]: ...
    @property
    def static(self) -> list[list[float]]: ...
    def checked(self, value: Any, name: str) -> SeriesWindow: ...
    def batch(
        self,
        windows: Sequence[SeriesWindow],
        values: np.ndarray,
        before: np.ndarray,
        given: np.ndarray,
        labels: dict[str, Tensor] | None,
    ) -> Batch: ...


def outlined(
    codec: Holds,
    n: int,
    seed: int,
    first: int,
    *,
    task: str | None = None,
    history: Any = None,
    horizon: int | None = None,
    length: int | None = None,
    start: Any = None,
    label: Any = None,
    scenario: str | None = None,
    scenario_weight: float = 1.0,
    targets: str | None = None,
) -> Outline:
    """The outline of n windows: samples of one question, or of n questions that are alike.

    Args:
        task: forecast (what comes after the history), impute (what is missing in it), backcast (what came before it) or
            generate (nothing is given); by default forecast with a history and generate without.
        history: a `SeriesWindow`, what its `written()` gave, or an array [C, t], which ends where the training data do;
            NaN where a value is missing. Rows beyond the model's context are left out. Rows of a forecast's history after
            the last value may hold covariates of the future; they are part of the horizon. A list of n of them gives
            every sample its own.
        horizon: steps to forecast or to backcast, up to the model's own, which is the default.
        length: rows of a generated window; start: its first time, by default the one after the training data.
        label: the class of the series.
        scenario: an event that is to hold, such as "WTI[30] > 90 and max(WTI) < 120"; see `events`. Its steps are those
            that are forecast or backcast, else rows of the window. scenario_weight: 1 for Bayes' rule, 0 for none.
        targets: quantiles that the paths are to have, such as "q10(WTI[30]) = 60 and q90(WTI[30]) = 95".

    Raises:
        PerrinError: a task without what it needs, a horizon or a history that the model does not hold.
    """
    task = task or ("generate" if history is None else "forecast")
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    if (history is None) != (task == "generate"):
        raise PerrinError(f"task {task!r} {'takes no' if task == 'generate' else 'needs a'} history")
    steps = codec.horizon if horizon is None else horizon
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= codec.horizon:
        raise PerrinError(
            f"horizon = {steps!r}: this model draws 1 to {codec.horizon} steps at once; roll it for more"
        )
    told = _told(history, n)
    if task == "generate":
        windows, about = [_empty(codec, length, start)], [dict[str, Any](task=task)]
        about[0] |= {"length": windows[0].shape[1], "start": windows[0].written()["times"][0]}
    else:
        known = [codec.checked(one, "the history") for one in told]
        make = {"forecast": ahead, "backcast": _behind, "impute": _whole}[task]
        windows = [make(codec, one, steps) for one in known]
        about = [
            {"task": task, "history": _cut_down(one, window).written(), "horizon": steps}
            for one, window in zip(known, windows, strict=True)
        ]
    labels = _labels(codec.classes, label, n)
    if labels is not None:
        about = [one | {"label": int(labels[0])} for one in about]
    values = stacked([w.values for w in windows], "histories")
    before = stacked([w.before for w in windows], "histories")
    made = codec.batch(windows, values, before, ~np.isnan(values), None)
    window = windows[0]
    condition = {name: _repeated(value, n) for name, value in (made.condition or {}).items()}
    # everything that is not given is there to be drawn, whether the data have it or not
    valid = ~torch.from_numpy(np.stack([_padding(w) for w in windows]))
    if task == "forecast":  # but gaps of its past are not, since windows with gaps are learned without them
        valid &= condition["observed"][: len(windows)] | torch.from_numpy(_after_last(values))
    valid = _repeated(valid | condition["observed"][: len(windows)], n)  # the row before a short history too
    condition["valid"] = valid
    if labels is not None:
        condition["label"] = labels
    masks = Masks(valid=valid, observed=condition["observed"])
    about = about * n if len(about) == 1 else about
    found = Outline(window.shape, masks, _repeated(made.state, n), condition, [dict(one) for one in about])
    if scenario is None and targets is None:
        return found
    rows = {"forecast": slice(-steps, None), "backcast": slice(steps)}.get(task, slice(None))
    return steered(codec, found, rows, seed, first, scenario, scenario_weight, targets)


def _told(history: Any, n: int) -> list[Any]:
    """The history, or n of them, as they were before they were written down."""
    one = not (
        isinstance(history, Sequence)
        and len(history)
        and all(isinstance(h, Mapping | SeriesWindow) for h in history)
    )
    found = [history] if one else list(history)
    if not one and len(found) != n:
        raise PerrinError(f"{len(found)} histories for {n} samples; give one, or one each")
    return [read_window(h) if isinstance(h, Mapping) else h for h in found]


def _repeated(value: Tensor, n: int) -> Tensor:
    return value.expand(n, *value.shape[1:]).clone()


def _after_last(values: np.ndarray) -> np.ndarray:
    """Entries of windows [B, C, T] after the last value of their column."""
    known = ~np.isnan(values)
    found: np.ndarray = ~np.maximum.accumulate(known[..., ::-1], -1)[..., ::-1]
    return found


def _padding(window: SeriesWindow) -> np.ndarray:
    """Rows before the history began, of a history shorter than the context: nothing is drawn there."""
    found: np.ndarray = np.zeros(window.shape, bool)
    if window.given is not None:
        found[:, ~window.given[0]] = True
    return found


def _empty(codec: Holds, length: int | None, start: Any) -> SeriesWindow:
    """A window of which nothing is given; differences begin at the level that the training data ended at."""
    rows = codec.context + codec.horizon if length is None else length
    if isinstance(rows, bool) or not isinstance(rows, int) or not 1 < rows <= codec.context + codec.horizon:
        raise PerrinError(
            f"length = {rows!r}: this model draws 2 to {codec.context + codec.horizon} rows at once"
        )
    frequency = codec.frequency
    if start is None:
        times = frequency.after(time_of(codec.end), rows)
    else:
        first = time_of(start)
        times = np.concatenate([[first], frequency.after(first, rows - 1)])
    size = len(codec.names)
    values, static = np.full((size, rows), np.nan), np.full(len(codec.static), np.nan)
    return SeriesWindow(
        tuple(codec.names),
        times,
        values,
        np.array(codec.level),
        known=np.full((len(codec.known), rows), np.nan),
        static=static,
    )


def ahead(codec: Holds, known: SeriesWindow, steps: int) -> SeriesWindow:
    """The last rows of the context, and `steps` empty ones after the last value: the window that a forecast fills.

    Raises:
        PerrinError: a history without values, or without the covariates of the future that the model needs.
    """
    rows = np.flatnonzero((~np.isnan(known.values)).any(0))
    if not len(rows):
        raise PerrinError("the history holds no value")
    end = int(rows[-1]) + 1
    own = known.rows(max(end - codec.context, 0), end)
    future = known.known[:, end : end + steps]
    if len(codec.known) and future.shape[1] < steps:
        raise PerrinError(
            f"this model needs its covariates for all {steps} steps ahead; the data have {future.shape[1]} rows after the "
            "last value: add rows with covariates and empty values"
        )
    values = np.concatenate([own.values, np.full((len(own.values), steps), np.nan)], 1)
    times = np.concatenate([own.times, codec.frequency.after(own.times[-1], steps)])
    ahead = np.concatenate([own.known, future if len(codec.known) else np.empty((0, steps))], 1)
    return _led(codec, replace(own, times=times, values=values, known=ahead), codec.context + steps)


def _led(codec: Holds, window: SeriesWindow, length: int) -> SeriesWindow:
    """Rows of nothing before a short history, so that a network sees windows of the length that it knows."""
    short = length - window.shape[1]
    there = np.concatenate([np.zeros(max(short, 0), bool), np.ones(window.shape[1], bool)])
    given = np.broadcast_to(there, (len(window.names), len(there)))
    if short <= 0:
        return replace(window, given=given)
    lead = ((0, 0), (short, 0))
    values = np.pad(window.values, lead, constant_values=np.nan)
    values[:, short - 1] = window.before
    return replace(
        window,
        times=np.concatenate([codec.frequency.before(window.times[0], short), window.times]),
        values=values,
        before=np.full(len(window.names), np.nan),
        known=np.pad(window.known, lead, constant_values=np.nan),
        given=given,
    )


def _behind(codec: Holds, known: SeriesWindow, steps: int) -> SeriesWindow:
    """`steps` empty rows before the first value, and the context's worth of rows from there on."""
    rows = np.flatnonzero((~np.isnan(known.values)).any(0))
    if not len(rows):
        raise PerrinError("the history holds no value")
    own = known.rows(int(rows[0]), int(rows[0]) + codec.context)
    values = np.concatenate([np.full((len(own.values), steps), np.nan), own.values], 1)
    times = np.concatenate([codec.frequency.before(own.times[0], steps), own.times])
    back = np.concatenate([np.full((len(own.known), steps), np.nan), own.known], 1)
    return replace(own, times=times, values=values, known=back, before=np.full(len(own.values), np.nan))


def _whole(codec: Holds, known: SeriesWindow, steps: int) -> SeriesWindow:
    """The history itself, with gaps."""
    if codec.differences:
        raise PerrinError(
            "this model's columns are sums of differences: what fills a gap would have to meet its far side, so gaps "
            "cannot be imputed; train one with another transform (log, asinh, identity)"
        )
    if not np.isnan(known.values).any():
        raise PerrinError("the history has no gap to impute: leave its missing values empty (NaN)")
    if known.shape[1] > codec.context + codec.horizon:
        raise PerrinError(
            f"the history has {known.shape[1]} rows; this model imputes windows of up to {codec.context + codec.horizon}"
        )
    return known


def _cut_down(known: SeriesWindow, window: SeriesWindow) -> SeriesWindow:
    """The rows of the history that the window was made of: what its samples' provenance keeps."""
    kept = np.flatnonzero(np.isin(known.times, window.times))
    return known.rows(int(kept[0]), int(kept[-1]) + 1)


def _labels(classes: Sequence[str] | None, asked: Any, n: int) -> Tensor | None:
    if not classes:
        if asked is not None:
            raise PerrinError("this model was trained without classes; it takes no label")
        return None
    index = UNLABELLED if asked in (None, "none", UNLABELLED) else find_label(classes, asked)
    return torch.full((n,), index)
