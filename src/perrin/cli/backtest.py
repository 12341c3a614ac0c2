"""`perrin backtest`: a model's forecasts of the past beside those of simple methods, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli import series_data
from perrin.cli.common import Device, Json, choose_device, emit
from perrin.errors import PerrinError


def command(
    data: Annotated[Path, typer.Argument(help="A table: .csv, .csv.gz, .tsv or .parquet.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A model that learned earlier rows; by default one is trained on those before the first window.",
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option("--horizon", help="Steps ahead; the model's own, or a season or 30 without one."),
    ] = None,
    windows: Annotated[int, typer.Option("--windows", help="How many origins, evenly spaced.")] = 50,
    share: Annotated[
        float | None,
        typer.Option(
            "--share", help="Windows lie in this last share of the rows; 0.2, or what the model left."
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option("--methods", help="Simple methods, with commas between; all of them by default."),
    ] = None,
    simple: Annotated[
        bool, typer.Option("--simple", help="Compare the simple methods alone, without a model.")
    ] = False,
    paths: Annotated[int, typer.Option("-n", "--paths", help="How many paths a window.")] = 100,
    ranks: Annotated[
        int,
        typer.Option(
            "--ranks", help="Of so many paths a window measure and rank the log-densities; 0 for none."
        ),
    ] = 0,
    season: Annotated[
        int | None, typer.Option("--season", help="Steps of the main cycle; from the times by default.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which paths.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for backtest.html, .json, pictures.")
    ] = None,
    of: Annotated[str | None, typer.Option("--of", help="Which series, where the data hold several.")] = None,
    recipe: Annotated[
        str,
        typer.Option("--recipe", help="What to train where no model is given.", rich_help_panel="Training"),
    ] = "series",
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget", help="CPU-seconds of training; the recipe's by default.", rich_help_panel="Training"
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change one value of the recipe: --set training.lr=1e-3.",
            rich_help_panel="Training",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="See perrin models --solvers.")] = None,
    time: series_data.Time = None,
    columns: series_data.Columns = None,
    series: series_data.SeriesColumn = None,
    value: series_data.Value = None,
    covariates: series_data.Covariates = None,
    static: series_data.Static = None,
    apart: series_data.Apart = False,
    day_first: series_data.DayFirst = None,
    decimal: series_data.DecimalMark = None,
    frequency: series_data.Frequency = None,
    order: series_data.Order = "refuse",
    unusable: series_data.Unusable = "refuse",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Forecast the past again and again, with what was known then, and compare with simple methods.

    All figures are of the same windows, with standard errors over them. A window that the model learned from is refused.

    Example:
      perrin backtest load.csv --model runs/load --horizon 24 --windows 50 --out trial
      perrin backtest load.csv --horizon 24 --simple
      perrin backtest prices.csv --recipe prices --horizon 30 --methods random_walk,bootstrap_walk
    """
    from perrin.forecasting.trial_page import figures_of_trial, save_trial, words_of
    from perrin.series import backtest

    if simple and model is not None:
        raise PerrinError("--simple compares the simple methods alone; leave --model out")
    options = series_data.reading(
        time=time, columns=columns, series=series, value=value, covariates=covariates, static=static,
        apart=apart, day_first=day_first, decimal=decimal, frequency=frequency, order=order, unusable=unusable,
    )  # fmt: skip
    chosen: dict[str, Any] = {} if methods is None else {"methods": methods.split(",") if methods else []}
    drawing = {name: v for name, v in (("steps", steps), ("solver", solver)) if v is not None}
    with series_data.parts_of_work() as told:
        found = backtest(
            data, False if simple else model, horizon=horizon, windows=windows, share=share, paths=paths, seed=seed,
            season=season, ranks=ranks, recipe=recipe, budget=budget, changes=set_ or (), of=of, drawing=drawing,
            device=choose_device(device), progress=told, **chosen, **options,
        )  # fmt: skip
    files = save_trial(found, out) if out is not None else []
    if as_json:
        emit({**figures_of_trial(found), "files": files})
        return
    print("\n".join([*(f"note: {note}" for note in found.about["notes"]), "", found.result.text()]))
    if found.gain is not None:
        rival, (value_, stderr) = found.gain
        word = "less" if value_ >= 0 else "more"
        print(
            f"\nthe model loses {abs(value_):.1%} ± {stderr:.1%} {word} than {rival}, the best simple method"
        )
    for line in words_of(found):
        print(line)
    if files:
        print(f"\n{files[0]} is the page; beside it {', '.join(f.name for f in files[1:])}")
