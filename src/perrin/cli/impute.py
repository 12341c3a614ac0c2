"""`perrin impute`: the gaps of the series in a file filled many times, what is given left as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from perrin.cli import series_data
from perrin.cli.common import Device, Json, choose_device, emit
from perrin.cli.forecast import check_folder


def command(
    data: Annotated[Path, typer.Argument(help="A table: .csv, .csv.gz, .tsv or .parquet.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="A model of such data; by default one is trained, or found where it was."
        ),
    ] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many ways to fill every gap.")] = 50,
    seed: Annotated[int, typer.Option("--seed", help="Which ways.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="A folder; filled-NAME by default.")] = None,
    format_: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="Of the tables.")] = "csv",
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
    """Fill the gaps of the series in a file: the filled table, every gap's median and 80 % interval, and the paths.

    Gaps are empty cells and times that have no row. What is given is written as it is, to the bit.

    Example:
      perrin impute load.csv
      perrin impute sensors.csv.gz --time stamp --samples 100 --out filled
    """
    from perrin.forecasting.filled_writing import save_imputation, summary_of
    from perrin.forecasting.telling import imputation_lines
    from perrin.series import impute

    options = series_data.reading(
        time=time, columns=columns, series=series, value=value, covariates=covariates, static=static,
        apart=apart, day_first=day_first, decimal=decimal, frequency=frequency, order=order, unusable=unusable,
    )  # fmt: skip
    target = out or Path(f"filled-{data.name.split('.')[0]}")
    check_folder(target)
    drawing = {name: v for name, v in (("steps", steps), ("solver", solver)) if v is not None}
    with series_data.parts_of_work() as told:
        found = impute(
            data, model, samples=samples, seed=seed, recipe=recipe, budget=budget, changes=set_ or (),
            drawing=drawing, device=choose_device(device), progress=told, **options,
        )  # fmt: skip
        files = save_imputation(found, target, format_)
    if as_json:
        emit({"series": [summary_of(one) for one in found], "files": files})
        return
    print("\n".join(imputation_lines(found)))
    print(f"\n{files[0]} is the filled table; gaps and paths are beside it")
