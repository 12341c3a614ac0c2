"""`perrin forecast`: many futures of the series in a file, each with its log-density, and what they say of events."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from perrin.cli import series_data
from perrin.cli.common import Device, Json, choose_device, emit
from perrin.errors import PerrinError


def command(
    data: Annotated[Path, typer.Argument(help="A table: .csv, .csv.gz, .tsv or .parquet.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="A model of such data; by default one is trained, or found where it was."
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            "--horizon", help="Steps ahead; the model's own by default, a season or 30 without one."
        ),
    ] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many paths.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Which paths.")] = 0,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help='Say how probable it is, such as "max(load) > 120" (repeatable).'),
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="Draw paths in which this event happens.")
    ] = None,
    likelihood: Annotated[
        Literal["bound", "ode", "both", "none"],
        typer.Option(
            "--likelihood", help="Of each path: the bound, the probability flow (slower), both or none."
        ),
    ] = "bound",
    out: Annotated[Path | None, typer.Option("--out", help="A folder; forecast-NAME by default.")] = None,
    format_: Annotated[
        Literal["csv", "parquet"], typer.Option("--format", help="Of the tables of paths and quantiles.")
    ] = "csv",
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
    """Forecast the series in a file from its end on: paths, quantiles, log-densities, events, a picture and a page.

    Without --model one is trained on the whole file first, in runs/, and used again next time.

    Example:
      perrin forecast load.csv --horizon 30 --samples 200
      perrin forecast prices.csv --columns close --event "max(close) > 120" --event "[30] < 90"
      perrin forecast load.csv --model runs/load --horizon 24 --scenario "min(load) < 50" --out cold
    """
    from perrin.series import forecast

    options = series_data.reading(
        time=time, columns=columns, series=series, value=value, covariates=covariates, static=static,
        apart=apart, day_first=day_first, decimal=decimal, frequency=frequency, order=order, unusable=unusable,
    )  # fmt: skip
    target = out or Path(f"forecast-{data.name.split('.')[0]}")
    check_folder(target)
    drawing = {name: v for name, v in (("steps", steps), ("solver", solver)) if v is not None}
    began = clock.process_time()
    with series_data.parts_of_work() as told:
        found = forecast(
            data, model, horizon=horizon, samples=samples, seed=seed, events=event or (), scenario=scenario,
            likelihood=None if likelihood == "none" else likelihood, recipe=recipe, budget=budget,
            changes=set_ or (), of=of, drawing=drawing, device=choose_device(device), progress=told, **options,
        )  # fmt: skip
        files = found.save(target, format_)
    found.about["cpu_seconds"] = clock.process_time() - began
    if as_json:
        from perrin.forecasting.writing import summary_of

        emit({**summary_of(found), "files": files})
        return
    from perrin.forecasting.telling import forecast_lines

    print("\n".join(forecast_lines(found)))
    print(f"\n{target / 'fan.html'} is the page to explore; beside it {', '.join(_names(files, 'fan.html'))}")


def check_folder(target: Path) -> None:
    """Refuse what is no folder before anything is computed for it.

    Raises:
        PerrinError: a file, or a name that ends as one.
    """
    if target.is_file() or target.suffix:
        raise PerrinError(f"--out {target} is a file; several files are written: give a folder")


def _names(files: list[Path], without: str) -> list[Any]:
    return [
        f.name
        for f in files
        if f.name != without and f.suffixes[-2:] not in ([".csv", ".json"], [".parquet", ".json"])
    ]
