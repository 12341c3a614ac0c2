"""`perrin models`: what can be named on the command line and in a recipe."""

from __future__ import annotations

import shutil
import textwrap
from typing import Annotated, Any

import typer

from perrin.cli.common import Json, emit


def command(
    recipes: Annotated[bool, typer.Option("--recipes", help="The built-in recipes.")] = False,
    solvers: Annotated[
        bool, typer.Option("--solvers", help="The solvers, with order and evaluations.")
    ] = False,
    token_solvers: Annotated[bool, typer.Option("--token-solvers", help="The solvers of tokens.")] = False,
    grids: Annotated[bool, typer.Option("--grids", help="The grids of levels.")] = False,
    schedules: Annotated[bool, typer.Option("--schedules", help="The noise schedules.")] = False,
    processes: Annotated[bool, typer.Option("--processes", help="What noise does to tokens.")] = False,
    parameterisations: Annotated[
        bool, typer.Option("--parameterisations", help="What a network predicts.")
    ] = False,
    variances: Annotated[bool, typer.Option("--variances", help="The learned variances.")] = False,
    guidance: Annotated[bool, typer.Option("--guidance", help="The ways to steer a denoiser.")] = False,
    tasks: Annotated[bool, typer.Option("--tasks", help="What can be restored.")] = False,
    methods: Annotated[bool, typer.Option("--methods", help="How it is restored.")] = False,
    objectives: Annotated[bool, typer.Option("--objectives", help="What training minimises.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="The weights of the training loss.")] = False,
    level_laws: Annotated[
        bool, typer.Option("--level-laws", help="The laws of the training levels.")
    ] = False,
    auxiliaries: Annotated[
        bool, typer.Option("--auxiliaries", help="What is minimised beside the objective.")
    ] = False,
    nets: Annotated[bool, typer.Option("--nets", help="The networks.")] = False,
    kinds: Annotated[bool, typer.Option("--kinds", help="The kinds of data.")] = False,
    metrics: Annotated[bool, typer.Option("--metrics", help="What generated data are measured by.")] = False,
    as_json: Json = False,
) -> None:
    """List recipes, solvers, schedules, networks and everything else that has a name.

    Example:
      perrin models --solvers
    """
    asked = {name: value for name, value in locals().items() if name != "as_json"}
    from perrin.cli.listing import section

    names = [name for name, wanted in asked.items() if wanted or not any(asked.values())]
    tables = {name: section(name) for name in names}
    if as_json:
        emit(tables)
        return
    for name, rows in tables.items():
        print(name.replace("_", " "))
        print("\n".join(lines(rows, shutil.get_terminal_size((120, 24)).columns)) + "\n")


def lines(rows: list[dict[str, Any]], width: int) -> list[str]:
    """Rows as aligned columns; where they are wider than `width`, what a name means goes below its facts."""
    from perrin.cli.listing import cell

    headings = [heading.replace("_", " ") for heading in rows[0] if heading != "about"]
    facts = [[cell(value) for key, value in row.items() if key != "about"] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *facts, strict=True)]
    table = ["  ".join(map(str.ljust, fields, widths)) for fields in [headings, *facts]]
    beside = len(table[0]) + 2 + max(len(row["about"]) for row in rows) <= width
    shown = [f"  {table[0]}".rstrip()] if len(headings) > 1 else []
    for line, row in zip(table[1:], rows, strict=True):
        if beside:
            shown.append(f"  {line}  {row['about']}")
        else:
            shown += [f"  {line}".rstrip(), textwrap.indent(textwrap.fill(row["about"], width - 6), " " * 6)]
    return shown
