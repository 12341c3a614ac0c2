"""What a forecast without a model trains: a recipe on all of the data, and the run's name, by which it is found again."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import perrin
from perrin.errors import PerrinError
from perrin.kinds.series import open_series
from perrin.kinds.series.parts import SeriesData
from perrin.kinds.series.window import SeriesWindow
from perrin.model import Model
from perrin.training import recipe as recipes
from perrin.training.schema import check_options

AT_ONCE = 64
"""Steps that a model is trained to draw at once, at most; longer horizons are drawn block after block."""
FILLING = {"forecast": 0.15, "impute": 0.7, "backcast": 0.15}
"""Shares of the tasks of a model that is to fill gaps."""


def opened(
    path: str | Path, model: Model | None, options: Mapping[str, Any]
) -> tuple[SeriesData, dict[str, Any]]:
    """(the series of a file, the options that it was read with: those given, after those of the model's own data).

    Raises:
        PerrinError: an option that is not known, or data that cannot be read.
    """
    own: dict[str, Any] = {}
    if model is not None and model.folder is not None and (model.folder / "recipe.yaml").is_file():
        own = dict(recipes.read(model.folder / "recipe.yaml").get("data", {}))
        own.pop("path", None)
    chosen = check_options(open_series, {"path": str(path), **own, **options}, "data")
    return open_series(**chosen), {k: v for k, v in chosen.items() if k != "path"}


def chosen(data: SeriesData, of: str | None, model: Model | None = None) -> SeriesWindow:
    """One series of the data, with the columns and the frequency of the model.

    Raises:
        PerrinError: several series and none named, or data that are not the model's.
    """
    names = [part.window.series for part in data.parts]
    if of is None and len(names) > 1:
        listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise PerrinError(
            f"the data hold {len(names):,} series ({listed}); say which one with of (--of NAME)"
        )
    if of is not None and of not in names:
        raise PerrinError(
            f"the data have no series {of!r}; they have {', '.join(names[:12]) or 'one without a name'}"
        )
    window = data.parts[names.index(of) if of is not None else 0].own
    return window if model is None else matched(window, data, model)


def with_gaps(data: SeriesData, model: Model | None) -> list[SeriesWindow]:
    """The series that have gaps, with the columns and the frequency of the model.

    Raises:
        PerrinError: none of them has any, or data that are not the model's.
    """
    windows = [part.own if model is None else matched(part.own, data, model) for part in data.parts]
    found = [window for window in windows if np.isnan(window.values).any()]
    if not found:
        raise PerrinError("the data have no gap to fill: leave missing values empty, or their rows out")
    return found


def matched(window: SeriesWindow, data: SeriesData, model: Model) -> SeriesWindow:
    """The columns of a series that a model knows, in its order.

    Raises:
        PerrinError: a model of another kind, columns that are not there, or another frequency.
    """
    codec: Any = model.codec
    if getattr(codec, "kind", None) != "series":
        raise PerrinError(f"this is a model of {getattr(codec, 'kind', '?')}; series need one of kind series")
    missing = [name for name in codec.names if name not in window.names]
    if missing:
        raise PerrinError(
            f"the model was trained on column {missing[0]!r}, and the data have {', '.join(window.names[:12])}"
        )
    if data.frequency != codec.frequency:
        raise PerrinError(
            f"the model was trained on rows every {codec.frequency}; these come every {data.frequency}: average them "
            "with frequency"
        )
    if tuple(codec.names) == window.names:
        return window
    order = [window.names.index(name) for name in codec.names]
    return SeriesWindow(
        tuple(codec.names), window.times, window.values[order], window.before[order],
        known=window.known, static=window.static, series=window.series,
    )  # fmt: skip


def check_samples(samples: int) -> None:
    """Refuse a number of paths that is none, before anything is trained for them.

    Raises:
        PerrinError: likewise.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise PerrinError(f"samples = {samples!r} must be a whole number of paths of at least 1")


def check_horizon(horizon: int | None, window: SeriesWindow) -> None:
    """Refuse a horizon that is no number of steps, or that is longer than the data.

    Raises:
        PerrinError: likewise.
    """
    if horizon is None:
        return
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1:
        raise PerrinError(f"horizon = {horizon!r} must be a whole number of steps of at least 1")
    if horizon >= window.shape[1]:
        raise PerrinError(
            f"horizon = {horizon:,} is longer than the data, which have {window.shape[1]:,} rows; shorten it"
        )


def recipe_of(
    recipe: str | Path | Mapping[str, Any],
    path: str | Path,
    options: Mapping[str, Any],
    *,
    rows: int,
    horizon: int | None = None,
    budget: float | None = None,
    tasks: Mapping[str, float] | None = None,
    changes: Sequence[str] = (),
) -> dict[str, Any]:
    """The recipe with these data, all of which are learned: nothing is held out of what leads to the future.

    Args:
        options: of `open_series`. rows: of the series. budget: CPU-seconds of training; the recipe's own by default.
        tasks: instead of the recipe's. changes: such as "training.lr=1e-3".

    Raises:
        PerrinError: a recipe of another kind, or a budget that is not positive.
    """
    content = recipes.read(recipe)
    if content.get("kind") != "series":
        raise PerrinError(
            f"recipe {content.get('name', recipe)!r} is of kind {content.get('kind')}; series are needed"
        )
    if budget is not None and not budget > 0:
        raise PerrinError(f"budget = {budget} must be CPU-seconds above 0")
    codec: dict[str, Any] = dict(content.get("codec", {}))
    if horizon is not None:
        codec["horizon"] = at_once(horizon, rows)
    if tasks is not None:
        codec["tasks"] = dict(tasks)
    training: dict[str, Any] = {"validation": 0}
    if budget is not None:
        training["cpu_seconds"] = float(budget)
    name = Path(path).name.split(".")[0]
    asked = {"name": f"{'impute' if tasks else 'forecast'}-{name}", "data": {"path": str(path), **options}}
    content = recipes.merge(content, {**asked, "held_out": 0, "codec": codec, "training": training})
    for change in changes:
        content = recipes.set_value(content, change)
    return content


def at_once(horizon: int, rows: int) -> int:
    """The model's horizon for a forecast's: all of it, or the blocks of it that are as even as can be."""
    most = max(min(AT_ONCE, rows // 5), 1)
    return math.ceil(horizon / math.ceil(horizon / most))


def run_name(content: Mapping[str, Any], data: SeriesData) -> str:
    """The name of a run, which is another for another recipe or other data, wherever the file lies."""
    own = {**content, "data": {**content["data"], "path": data.facts["sha256"]}}
    text = json.dumps([perrin.__version__, own], sort_keys=True, default=str)
    return f"{content['name']}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
