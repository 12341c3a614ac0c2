"""How a table of time series is read: the options that `forecast`, `impute` and `backtest` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, Literal

import typer

from perrin.cli.common import progress

PANEL = "How the data are read"

Time = Annotated[
    str | None,
    typer.Option(
        "--time", help="The column of times, or date+hour for two that make one.", rich_help_panel=PANEL
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        help="The columns of values, with commas between; all of them by default.",
        rich_help_panel=PANEL,
    ),
]
SeriesColumn = Annotated[
    str | None,
    typer.Option(
        "--series",
        help="Of a long table, the column that says which series a row is of.",
        rich_help_panel=PANEL,
    ),
]
Value = Annotated[
    str | None, typer.Option("--value", help="Of a long table, its column of values.", rich_help_panel=PANEL)
]
Covariates = Annotated[
    str | None,
    typer.Option(
        "--covariates",
        help="Columns that are known for the future too, with commas between.",
        rich_help_panel=PANEL,
    ),
]
Static = Annotated[
    str | None,
    typer.Option(
        "--static",
        help="Of a long table, columns that say something of a series as a whole.",
        rich_help_panel=PANEL,
    ),
]
DayFirst = Annotated[
    bool | None,
    typer.Option(
        "--day-first/--month-first",
        help="How to read 03/04/2020 where the file leaves it open.",
        rich_help_panel=PANEL,
    ),
]
DecimalMark = Annotated[
    Literal[".", ","] | None,
    typer.Option("--decimal", help="What 1,234 means where the file leaves it open.", rich_help_panel=PANEL),
]
Frequency = Annotated[
    str | None,
    typer.Option(
        "--frequency",
        help="Average the rows on a grid of this step: h, D, W, MS, 15min.",
        rich_help_panel=PANEL,
    ),
]
Order = Annotated[
    Literal["refuse", "sort"],
    typer.Option("--order", help="Sort rows that are not in the order of time.", rich_help_panel=PANEL),
]
Unusable = Annotated[
    Literal["refuse", "leave_out"],
    typer.Option(
        "--unusable", help="Leave out columns of text, of one value or of none.", rich_help_panel=PANEL
    ),
]
Apart = Annotated[
    bool,
    typer.Option(
        "--apart",
        help="Take the columns as series of their own, not as one of several.",
        rich_help_panel=PANEL,
    ),
]


def reading(**given: Any) -> dict[str, Any]:
    """What was said of the data, as `open_series` takes it: lists split at commas, what was not said left out."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == "refuse" or (name == "apart" and not value):
            continue
        if name in ("columns", "covariates", "static"):
            value = [part.strip() for part in str(value).split(",") if part.strip()]
        found["joint" if name == "apart" else name] = not value if name == "apart" else value
    return found


@contextmanager
def parts_of_work() -> Iterator[Callable[[str, int, int], None]]:
    """A progress display for each part of the work; yields `told(what, done, in all)`."""
    with ExitStack() as shown:
        part, before, advance = "", 0, None

        def told(what: str, done: int, total: int) -> None:
            nonlocal part, before, advance
            if what != part or advance is None:
                shown.close()
                part, before, advance = what, 0, shown.enter_context(progress(what, total))
            advance(done - before, total=total)
            before = done

        yield told
