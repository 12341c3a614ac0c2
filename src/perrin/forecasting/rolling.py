r"""Futures of any length, block after block: every path goes on from its own past.

    p(y_1 .. y_H | past) = p(y_1 .. y_h | past) p(y_h+1 .. y_2h | past, y_1 .. y_h) ...

h is at most the horizon of the model, and the factors are its own. A block is one call of the sampler over all paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perrin.errors import PerrinError
from perrin.kinds.series.outlining import ahead
from perrin.kinds.series.window import SeriesWindow
from perrin.model import Model
from perrin.sample.noise import seed_of
from perrin.samples import Samples


@dataclass(frozen=True)
class Block:
    """What one call of the sampler drew: its samples, and the windows [C, context + h] of which it drew the last h rows.

    Gaps in the context are left open, and what else is not given was drawn: `model.log_prob(windows)` has the factor's
    log-density.
    """

    samples: Samples
    windows: list[SeriesWindow]
    steps: int


def roll(
    model: Model, history: SeriesWindow, horizon: int, n: int, seed: int = 0, **options: Any
) -> list[SeriesWindow]:
    """n futures of a history.

    Args:
        history: NaN where a value is missing; rows after the last value may hold covariates of the future.
        horizon: steps after the last value; more than the model's own horizon are drawn block after block.
        n, seed: path i is a function of (seed, i), not of n.
        options: of `Model.sample`: steps, solver, guidance, batch, label, ...; `progress(done, in all)` counts
            paths.

    Returns:
        Windows [C, context + horizon], `given` where they are history.

    Raises:
        PerrinError: a horizon below one, or a history that the model does not take.
    """
    return joined(history, list(blocks(model, history, horizon, n, seed, **options)))


def blocks(
    model: Model,
    history: SeriesWindow,
    horizon: int,
    n: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Iterator[Block]:
    """The blocks of `roll`, one after another."""
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise PerrinError(f"horizon = {horizon!r} must be a whole number of steps of at least 1")
    codec: Any = model.codec
    own: int = codec.horizon
    past: list[SeriesWindow] = [history] * n
    for start in range(0, horizon, own):
        steps = min(own, horizon - start)
        told: Any = history if start == 0 else past
        samples = model.sample(
            n,
            seed=block_seed(seed, start // own),
            task="forecast",
            history=told,
            horizon=steps,
            progress=_part(progress, start, steps, horizon, n),
            **options,
        )
        forms = [ahead(codec, one, steps) for one in (past[:1] if start == 0 else past)]
        forms = forms * n if start == 0 else forms
        drawn = [window.values for window in samples.decoded]
        windows = [completed(form, new, steps) for form, new in zip(forms, drawn, strict=True)]
        yield Block(samples, windows, steps)
        past = [gone_on(p, window, steps, codec) for p, window in zip(past, windows, strict=True)]


def block_seed(seed: int, block: int) -> int:
    """The seed of a block; the first has the forecast's own, so that a short forecast is `Model.sample` itself."""
    return seed if block == 0 else seed_of((seed, block), "", "block") % 2**63


def _part(
    progress: Callable[[int, int], None] | None, start: int, steps: int, horizon: int, n: int
) -> Callable[[int, int], None] | None:
    """The progress of a block as a part of all, in paths."""
    if progress is None:
        return None
    return lambda done, total: progress(int(n * (start + steps * done / max(total, 1)) / horizon), n)


def completed(form: SeriesWindow, drawn: np.ndarray, steps: int) -> SeriesWindow:
    """A window whose last rows are empty with what was drawn [C, T] of it; `given` is the rest.

    Drawn are the last `steps` rows, and the end of a column that ended before the others did; gaps stay open.
    """
    known = ~np.isnan(form.values)
    after = ~np.maximum.accumulate(known[:, ::-1], 1)[:, ::-1]
    after &= known.any(1, keepdims=True)  # a column without any value is one gap
    after[:, -steps:] = True
    return replace(form, values=np.where(after, drawn, form.values), given=known)


def gone_on(past: SeriesWindow, window: SeriesWindow, steps: int, codec: Any) -> SeriesWindow:
    """The past of the next block: a window and what was drawn of it, and covariates of what comes after."""
    rest = past.known[:, last_value(past) + steps :]
    empty = np.full((len(window.values), rest.shape[1] if len(rest) else 0), np.nan)
    return replace(
        window,
        times=np.concatenate([window.times, codec.frequency.after(window.times[-1], empty.shape[1])]),
        values=np.concatenate([window.values, empty], 1),
        known=np.concatenate([window.known, rest[:, : empty.shape[1]]], 1),
        given=None,
    )


def last_value(window: SeriesWindow) -> int:
    """How many rows there are up to the last one with a value.

    Raises:
        PerrinError: no value at all.
    """
    rows = np.flatnonzero((~np.isnan(window.values)).any(0))
    if not len(rows):
        raise PerrinError("the history holds no value")
    return int(rows[-1]) + 1


def joined(history: SeriesWindow, parts: Sequence[Block]) -> list[SeriesWindow]:
    """Blocks as one window for each path: the context of the first, and all that was drawn after it."""
    first = parts[0]
    found = []
    for i, window in enumerate(first.windows):
        later = [
            part.windows[i].rows(part.windows[i].shape[1] - part.steps, part.windows[i].shape[1])
            for part in parts[1:]
        ]
        given = [np.zeros_like(part.values, bool) for part in later]
        found.append(
            replace(
                window,
                times=np.concatenate([window.times, *(part.times for part in later)]),
                values=np.concatenate([window.values, *(part.values for part in later)], 1),
                given=np.concatenate([_given(window), *given], 1),
                known=np.concatenate([window.known, *(part.known for part in later)], 1),
                series=history.series,
            )
        )
    return found


def _given(window: SeriesWindow) -> np.ndarray:
    assert window.given is not None  # `completed` says what is
    return window.given
