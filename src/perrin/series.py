"""`forecast`, `impute` and `backtest`: the verbs of series, which train a model where none is given."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from perrin.api import train
from perrin.evaluate.backtesting import SIMPLE
from perrin.forecasting import drawing as futures
from perrin.forecasting import imputing, runs, trials
from perrin.forecasting.drawing import Likelihood
from perrin.forecasting.drawing import Progress as Parts
from perrin.forecasting.futures import Forecast
from perrin.forecasting.imputing import Imputation
from perrin.forecasting.trials import Trial
from perrin.kinds.series.parts import SeriesData
from perrin.loading import RUNS, load
from perrin.model import Model


def forecast(
    data: str | Path,
    model: str | Path | Model | None = None,
    *,
    horizon: int | None = None,
    samples: int = 200,
    seed: int = 0,
    events: Sequence[str] = (),
    scenario: str | None = None,
    likelihood: Likelihood | None = "bound",
    recipe: str | Path | Mapping[str, Any] = "series",
    budget: float | None = None,
    changes: Sequence[str] = (),
    of: str | None = None,
    drawing: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Parts | None = None,
    **options: Any,
) -> Forecast:
    """Many futures of the series in a file, from its end on, each with its log-density.

    Args:
        data: .csv, .csv.gz, .tsv or .parquet.
        model: of such data; by default one is trained on all of them, in runs/forecast-NAME-..., or found there again
            where data, recipe and options are the same.
        horizon: steps ahead; the model's own by default. Long ones are drawn block after block.
        samples, seed: path i is a function of (seed, i).
        events: such as "max(load) > 120"; scenario: one towards which the paths are guided.
        likelihood: "bound", "ode", "both" or None.
        recipe, budget, changes: of the training: CPU-seconds, and single values such as "training.lr=1e-3".
        of: the series, where the data hold several.
        drawing: options of `Model.sample`, such as {"steps": 20}.
        progress: called with (what, done, in all).
        options: how to read the data: see `kinds.series.open_series`.

    Raises:
        PerrinError: data, a horizon, an event or other options that cannot be used.
    """
    loaded = load(model, device=device) if isinstance(model, str | Path) else model
    opened, read = runs.opened(data, loaded, options)
    window = runs.chosen(opened, of, loaded)
    runs.check_samples(samples)
    runs.check_horizon(horizon, window)
    asked = futures.parsed(events, window.names, horizon)
    told = opened.facts["notes"]
    if loaded is None:
        content = runs.recipe_of(
            recipe, data, read, rows=window.shape[1], horizon=horizon, budget=budget, changes=changes
        )
        loaded, note = _trained(content, opened, device, progress)
        told = [*told, note]
    found = futures.forecast(
        loaded, window, horizon=horizon, samples=samples, seed=seed, events=asked, scenario=scenario,
        likelihood=likelihood, progress=progress, **(drawing or {}),
    )  # fmt: skip
    found.about.update(notes=told, model=str(loaded.folder or found.about["model"]), data=str(data))
    return found


def impute(
    data: str | Path,
    model: str | Path | Model | None = None,
    *,
    samples: int = 50,
    seed: int = 0,
    recipe: str | Path | Mapping[str, Any] = "series",
    budget: float | None = None,
    changes: Sequence[str] = (),
    drawing: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Parts | None = None,
    **options: Any,
) -> list[Imputation]:
    """Fill the gaps of the series in a file many times; every series that has gaps. See `forecast` for the arguments.

    Raises:
        PerrinError: no gaps, or data or options that cannot be used.
    """
    loaded = load(model, device=device) if isinstance(model, str | Path) else model
    opened, read = runs.opened(data, loaded, options)
    runs.check_samples(samples)
    gappy = runs.with_gaps(opened, loaded)
    told = opened.facts["notes"]
    if loaded is None:
        rows = max(part.window.shape[1] for part in opened.parts)
        content = runs.recipe_of(
            recipe, data, read, rows=rows, budget=budget, tasks=runs.FILLING, changes=changes
        )
        loaded, note = _trained(content, opened, device, progress)
        told = [*told, note]
    found = [
        imputing.impute(loaded, one, samples=samples, seed=seed, progress=progress, **(drawing or {}))
        for one in gappy
    ]
    for one in found:
        one.about.update(notes=told, model=str(loaded.folder), data=str(data))
    return found


def backtest(
    data: str | Path,
    model: str | Path | Model | Literal[False] | None = None,
    *,
    horizon: int | None = None,
    windows: int = 50,
    share: float | None = None,
    methods: Sequence[str] | None = None,
    paths: int = 100,
    ranks: int = 0,
    season: int | None = None,
    seed: int = 0,
    recipe: str | Path | Mapping[str, Any] = "series",
    budget: float | None = None,
    changes: Sequence[str] = (),
    of: str | None = None,
    drawing: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: Parts | None = None,
    **options: Any,
) -> Trial:
    """Forecasts of the past beside those of simple methods: the same windows, errors over them. See also `forecast`.

    Args:
        model: one that learned earlier rows; False for none; by default one is trained on the rows before the first window.
        horizon: steps ahead; the model's own by default, or a season or 30.
        windows, share: so many, in this last share of the rows: .2, or what the model has not learned.
        methods: of `registry.forecasters`; the six of `evaluate.backtesting.SIMPLE` by default.
        paths: a window; ranks: of how many of them the log-densities are measured and ranked.
        season: steps of the main cycle, for the simple methods; from the times by default.

    Raises:
        PerrinError: windows that the model learned from, or data or options that cannot be used.
    """
    loaded = load(model, device=device) if isinstance(model, str | Path) else (model or None)
    opened, read = runs.opened(data, loaded, options)
    window = runs.chosen(opened, of, loaded)
    rows, usual = window.shape[1], opened.frequency.season
    codec: Any = loaded.codec if loaded else None
    steps = horizon or (codec.horizon if codec else min(usual if 2 < usual <= 60 else 30, rows // 5))
    runs.check_horizon(steps, window)
    origins = trials.origins_of(window, steps, windows, share, loaded)
    told = list(opened.facts["notes"])
    if model is None:
        content = runs.recipe_of(recipe, data, read, rows=rows, horizon=steps, budget=budget, changes=changes)
        content |= {"held_out": rows - int(origins[0]), "name": f"backtest-{Path(data).name.split('.')[0]}"}
        loaded, note = _trained(content, opened, device, progress)
        told.append(note)
    found = trials.tried(
        window, steps, origins, model=loaded, methods=SIMPLE if methods is None else methods,
        season=usual if season is None else season, paths=paths, seed=seed, ranked=ranks, drawing=drawing,
        progress=progress,
    )  # fmt: skip
    found.about.update(notes=told, data=str(data), model=str(loaded.folder) if loaded else None)
    return found


def _trained(
    content: Mapping[str, Any], data: SeriesData, device: str, progress: Parts | None
) -> tuple[Model, str]:
    """(a model of these data by this recipe, what was done for it): found again, finished, or trained."""
    folder = RUNS / runs.run_name(content, data)
    if (folder / "README.md").is_file():  # which is written last
        return Model.load(folder, device), f"{folder} was trained on these data by this recipe: used again"
    budget, began = content.get("training", {}).get("cpu_seconds"), time.process_time()

    def report(done: int, total: int, note: str) -> None:
        if progress is not None and budget:  # which ends long before the steps do
            done, total = min(round(time.process_time() - began), round(budget)), round(budget)
        if progress is not None:
            progress("training", done, total)

    begun = (folder / "recipe.yaml").is_file()
    run = train(folder if begun else content, out=folder, resume=begun, device=device, progress=report)
    spent = float(run.model.about.get("train_cpu_seconds") or 0)
    return run.model.to(
        device
    ), f"{folder} was {'finished' if begun else 'trained'} in {spent:.0f} CPU-seconds"


__all__ = ["backtest", "forecast", "impute"]
