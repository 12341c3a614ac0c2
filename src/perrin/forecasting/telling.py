"""What a forecast or filled gaps say in a few lines at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from perrin.forecasting.filled_writing import summary_of as filled_summary
from perrin.forecasting.writing import SUMMARY
from perrin.kinds.series.frequency import shown

if TYPE_CHECKING:
    from perrin.forecasting.futures import Forecast
    from perrin.forecasting.imputing import Imputation

MOST = 12
"""Columns of the table of the last step."""


def forecast_lines(found: Forecast) -> list[str]:
    """The quantiles at the last step, events, paths of note, and how fast it went."""
    return [*_notes(found.about), *_pace(found), "", *_last_step(found), "", *_likely(found), *_events(found)]


def _notes(about: dict[str, Any]) -> list[str]:
    return [f"note: {note}" for note in about.get("notes", [])]


def _pace(found: Forecast) -> Iterator[str]:
    seconds = found.about["drawing_cpu_seconds"]
    rate = f", {len(found) / seconds:.0f} a CPU-second" if seconds > 0 else ""
    blocks = f" in {found.about['blocks']} blocks" if found.about["blocks"] > 1 else ""
    yield f"{len(found)} paths of {found.horizon} steps{blocks}, to {shown(found.times[-1])}{rate}"


def _last_step(found: Forecast) -> Iterator[str]:
    last, names = found.quantiles(SUMMARY)[:, :, -1], found.names[:MOST]
    width = max(12, *(len(name) for name in names))
    head = "".join(f"{f'{level:.0%}':>12}" for level in SUMMARY)
    yield f"{shown(found.times[-1]):<{width}}{head}"
    for c, name in enumerate(names):
        yield f"{name:<{width}}" + "".join(f"{value:>12.5g}" for value in last[:, c])
    if len(found.names) > MOST:
        yield f"and {len(found.names) - MOST} more columns, in the table of quantiles"


def _likely(found: Forecast) -> Iterator[str]:
    for method, result in found.log_probs.items():
        values, errors = result.value.cpu().numpy(), result.stderr.cpu().numpy()
        name = "probability flow" if method == "ode" else "bound"
        most, least = int(np.nanargmax(values)), int(np.nanargmin(values))
        yield (
            f"log-density by the {name}: path {most} is the most likely, {_nats(values[most], errors[most])}; "
            f"path {least} the least, {_nats(values[least], errors[least])}"
        )
    yield f"furthest out: path {found.most_extreme()}"


def _nats(value: float, error: float) -> str:
    return f"{value:.2f}" + (f" ± {error:.2f}" if error > 0 else "") + " nats"


def _events(found: Forecast) -> Iterator[str]:
    for event in found.events:
        p, error = found.probability(event)
        yield f"probability of {event}: {p:.3f} ± {error:.3f}"


def imputation_lines(found: Sequence[Imputation]) -> list[str]:
    """How many gaps were filled in each column, and how sure that is."""
    lines = _notes(found[0].about)
    for one in found:
        facts = filled_summary(one)
        name = f"{one.series.series}: " if one.series.series else ""
        lines.append(f"{name}{len(one)} paths of {len(one.rows):,} gaps in {one.series.shape[1]:,} rows")
        for column, told in list(facts["columns"].items())[:MOST]:
            if told["gaps"]:
                lines.append(
                    f"  {column}: {told['gaps']:,} gaps, 80 % intervals {told['mean_width_80']:.4g} wide"
                )
    return lines
