"""A fan chart to explore, as one HTML page that needs no network: everything it shows is computed in it from the paths.

The reader hovers for quantiles and paths, steps through the paths in the order of their likelihood, and moves the
threshold of an event, whose share of the paths the page counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.kinds.provenance import dumps

if TYPE_CHECKING:
    from perrin.forecasting.futures import Forecast

MOST_COLUMNS = 24
"""Panels of a page; further columns are in the tables."""
MOST_ROWS = 400
"""Rows of history in a page."""
DIGITS = 6


def fan_page(found: Forecast) -> str:
    """The page of a forecast."""
    template = files(__package__).joinpath("fan.html").read_text(encoding="utf-8")
    name = found.history.series or ", ".join(found.names[:3]) + (
        ", \N{HORIZONTAL ELLIPSIS}" if len(found.names) > 3 else ""
    )
    made = dumps({"items": found.provenance}, indent=1, ensure_ascii=False)
    return (
        template.replace("{{title}}", escape(f"{len(found)} futures of {name}"))
        .replace("{{provenance}}", escape(made))
        .replace("{{content}}", _script(content(found)))
    )


def content(found: Forecast) -> dict[str, Any]:
    """What the page draws: columns, times, history, paths, log-densities, paths of note and events."""
    rows = min(found.shown, MOST_ROWS, found.history.shape[1])
    past = found.history.rows(found.history.shape[1] - rows, found.history.shape[1])
    size = min(len(found.names), MOST_COLUMNS)
    result = found.log_prob
    return {
        "names": list(found.names[:size]),
        "left_out": len(found.names) - size,
        "past": {"times": _times(past.times), "values": _rounded(past.values[:size])},
        "times": _times(found.times),
        "dated": found.times.dtype.kind == "M",
        "paths": _rounded(found.paths[:, :size]),
        "log_density": None if result is None else _rounded(result.value.cpu().numpy()),
        "method": None if result is None else "ode" if "ode" in found.log_probs else "bound",
        "notable": notable(found),
        "opening": opening(found),
        "events": [
            {"event": str(event), "probability": p, "stderr": error}
            for event, (p, error) in ((e, found.probability(e)) for e in found.events)
        ],
    }


def opening(found: Forecast) -> dict[str, Any] | None:
    """The first event that was asked for, where it is one comparison that the page can show; None otherwise."""
    for event in found.events[:1]:
        comparison = event.clauses[0][0]
        of = comparison.statistic
        at, whole = of.function in ("at", "last"), (of.first, of.last) == (1, -1)
        known = at or (whole and of.function in ("max", "min", "mean", "sum"))
        if [len(clause) for clause in event.clauses] == [1] and known and of.column < MOST_COLUMNS:
            chosen = {"column": of.column, "statistic": "at" if at else of.function}
            step = of.rows(found.horizon)[1] if at else found.horizon
            return {
                **chosen,
                "step": step,
                "side": 1 if comparison.above else -1,
                "number": comparison.number,
            }
    return None


def notable(found: Forecast) -> list[dict[str, Any]]:
    """Paths that the page offers by name; `column` where it is of one column."""
    chosen: list[dict[str, Any]] = []
    if found.log_prob is not None:
        chosen.append({"name": "most likely", "path": found.most_likely()})
        chosen.append({"name": "least likely", "path": found.least_likely()})
    chosen.append({"name": "most extreme", "path": found.most_extreme()})
    for c in range(min(len(found.names), MOST_COLUMNS)):
        chosen.append({"name": "highest", "path": found.highest(c), "column": c})
        chosen.append({"name": "lowest", "path": found.lowest(c), "column": c})
    return chosen


def _times(times: np.ndarray) -> list[Any]:
    """Milliseconds since 1970, or row numbers."""
    found: list[Any] = (
        (times.astype("datetime64[ms]") if times.dtype.kind == "M" else times).astype(np.int64).tolist()
    )
    return found


def _rounded(values: np.ndarray) -> list[Any]:
    """Numbers with as many digits as a picture can show; None for NaN, which JSON does not have."""
    flat = [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values.ravel().tolist()]
    found: list[Any] = np.array(flat, object).reshape(values.shape).tolist()
    return found


def _script(held: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: no text of it can end the element."""
    return json.dumps(held, separators=(",", ":")).replace("<", "\\u003c")
