"""The paths of a forecast drawn again, one at a time, from what its files say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perrin.forecasting.drawing import told
from perrin.forecasting.futures import Forecast
from perrin.forecasting.rolling import blocks, joined
from perrin.kinds.series.window import SeriesWindow, read_window
from perrin.model import Model
from perrin.sample import Plan
from perrin.steering import again


def redrawn(model: Model, items: Sequence[Mapping[str, Any]], weaker: Model | None = None) -> Forecast:
    """The forecast of a file's provenances, one for each path; without log-densities."""
    windows, provenance, history = list[SeriesWindow](), list[dict[str, Any]](), None
    for item in items:
        wanted = dict(item["wanted"])
        wanted.pop("task", None)
        history, horizon = read_window(wanted.pop("history")), wanted.pop("horizon")
        options = {"guidance": item["guidance"], "reuse": item.get("reuse", 1), "batch": 1, **wanted}
        options |= again(item, weaker)
        plan = Plan.from_recipe(item["plan"])
        parts = list(
            blocks(model, history, horizon, 1, item["seed"], first=item["index"], plan=plan, **options)
        )
        windows += joined(history, parts)
        provenance += told(parts, horizon)
    assert history is not None  # a file holds at least one path
    return Forecast(history, windows, horizon, provenance)
