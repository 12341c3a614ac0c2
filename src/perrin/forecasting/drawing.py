"""From a model and a history to a forecast: paths block after block, and the log-density of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch

from perrin.errors import PerrinError
from perrin.forecasting.futures import Forecast
from perrin.forecasting.rolling import Block, blocks, joined, last_value
from perrin.kinds.series.events import Event, parse_event
from perrin.kinds.series.window import SeriesWindow
from perrin.likelihood import LogProb
from perrin.model import Model

Progress = Callable[[str, int, int], None]
"""(what, done, in all)."""
Likelihood = Literal["ode", "bound", "both"]
BOUND = {"samples": 256}
"""Evaluations a path and block of the bound: its error is then less than half of what log-densities differ by."""


def forecast(
    model: Model,
    history: SeriesWindow,
    *,
    horizon: int | None = None,
    samples: int = 200,
    seed: int = 0,
    events: Sequence[str | Event] = (),
    scenario: str | None = None,
    likelihood: Likelihood | None = "bound",
    likelihood_options: dict[str, Any] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Forecast:
    """Draw futures of a history and measure how likely each is.

    Args:
        model: of the kind `series`. history: a window with its columns and frequency, any number of rows.
        horizon: steps after the last value; the model's own by default, more are drawn block after block.
        samples, seed: path i is a function of (seed, i).
        events: such as "max(load) > 120"; scenario: an event towards which the paths are guided. Log-densities are
            those of the model that is not guided, so that they say how likely the scenario's paths are.
        likelihood: "bound", "ode", "both" or None. In nats, in the units of the data, of all values ahead at once.
        likelihood_options: of `Model.log_prob`, such as {"samples": 128}.
        options: of `Model.sample`: steps, solver, guidance, batch, label, ...

    Raises:
        PerrinError: a history that the model does not take, an event that cannot be read, or other bad options.
    """
    codec: Any = model.codec
    if getattr(codec, "kind", None) != "series":
        raise PerrinError(
            f"forecasts are drawn by models of series; this one is of {getattr(codec, 'kind', '?')}"
        )
    if likelihood not in (None, "ode", "bound", "both"):
        raise PerrinError(f"likelihood {likelihood!r} is not known; known: bound, ode, both, or none at all")
    steps = codec.horizon if horizon is None else horizon
    asked = parsed(events, codec.names, steps)
    if scenario is not None:
        if steps > codec.horizon:
            raise PerrinError(
                f"a scenario is about the {codec.horizon} steps that this model draws at once; horizon = {steps} is more"
            )
        options["scenario"] = scenario
    own = recent(history, codec)
    began = time.process_time()
    report = None if progress is None else lambda done, total: progress("drawing paths", done, total)
    parts = list(blocks(model, own, steps, samples, seed, report, **options))
    drawn = time.process_time() - began
    found: dict[str, LogProb] = {
        method: log_density(model, parts, method, seed, options.get("label"), likelihood_options, progress)
        for method in _methods(likelihood)
    }
    end = last_value(history)
    about = {"horizon": steps, "blocks": len(parts), "drawing_cpu_seconds": drawn}
    about["likelihood_cpu_seconds"] = time.process_time() - began - drawn
    about["evaluations"] = sum(part.samples.evaluations for part in parts)
    about["model"] = parts[0].samples.provenance[0]["model"]
    windows = joined(own, parts)
    return Forecast(
        history.rows(max(end - 10 * codec.context, 0), end),
        windows,
        steps,
        told(parts, steps),
        found,
        about,
        asked,
    )


def parsed(events: Sequence[str | Event], names: Sequence[str], horizon: int | None) -> list[Event]:
    """Events of columns, and of the steps of a horizon where it is known.

    Raises:
        PerrinError: an event that cannot be read, or steps beyond the horizon.
    """
    found = [parse_event(event, names) if isinstance(event, str) else event for event in events]
    for event in found:
        if horizon is not None:
            event.check(horizon)
    return found


def recent(history: SeriesWindow, codec: Any) -> SeriesWindow:
    """What a model looks at of a long history: the rows of its context, and covariates of the future."""
    end = last_value(history)
    return replace(history.rows(max(end - codec.context, 0), history.shape[1]), given=None)


def _methods(likelihood: Likelihood | None) -> tuple[Literal["ode", "bound"], ...]:
    if likelihood is None:
        return ()
    return ("bound", "ode") if likelihood == "both" else (likelihood,)


def log_density(
    model: Model,
    parts: Sequence[Block],
    method: Literal["ode", "bound"],
    seed: int,
    label: Any,
    options: dict[str, Any] | None,
    progress: Progress | None = None,
) -> LogProb:
    """Log-densities [n] of rolled paths: the sum over blocks of each one's, given all before it."""
    chosen: dict[str, Any] = dict(BOUND) if method == "bound" else {}
    chosen |= options or {}
    if label is not None:
        chosen["label"] = label
    done, total = 0, sum(len(part.windows) for part in parts)

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(f"log-density by {method}", done, total)

    count(0)  # what comes before the first paths are done belongs to this part too

    found = [
        model.log_prob(part.windows, method=method, seed=seed, progress=count, **chosen) for part in parts
    ]
    return chained(found)


def chained(factors: Sequence[LogProb]) -> LogProb:
    """The log-density of a product of conditional densities, and its error: those of the factors are independent."""
    first = factors[0]
    mismatch = [f.mismatch for f in factors if f.mismatch is not None]
    return LogProb(
        torch.stack([f.value for f in factors]).sum(0),
        torch.stack([f.stderr for f in factors]).square().sum(0).sqrt(),
        torch.stack([f.converged for f in factors]).all(0),
        {name: torch.stack([f.parts[name] for f in factors]).sum(0) for name in first.parts},
        sum(f.evaluations for f in factors),
        torch.stack(mismatch).sum(0) if len(mismatch) == len(factors) else None,
    )


def told(parts: Sequence[Block], horizon: int) -> list[dict[str, Any]]:
    """For each path how its first block was made, with the horizon of all: the later ones follow from it."""
    made = []
    for one in parts[0].samples.provenance:
        wanted = {**one.get("wanted", {}), "horizon": horizon}
        made.append({**one, "wanted": wanted, "made_by": "forecast"})
    return made
