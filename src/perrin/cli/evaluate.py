"""`perrin evaluate`: how good a trained model is, each figure beside what makes it readable."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit, progress


def command(
    run: Annotated[Path, typer.Argument(help="A run folder; its recipe says where the data are.")],
    samples: Annotated[int | None, typer.Option("-n", "--samples", help="How many samples to judge.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Which samples.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="See perrin models --solvers.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Weight of the condition; 1 is none.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write; other settings get a folder of their own.")
    ] = None,
    filter: Annotated[
        str | None, typer.Option("--filter", help="Of molecules: rules such as lipinski,qed=0.5,sa=4.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Judge a model against held-out data; writes metrics.json, report.html and the samples into the run.

    Example:
      perrin evaluate runs/digits
      perrin evaluate runs/digits --steps 8 --solver unipc_2
      perrin evaluate runs/molecules --filter lipinski,qed=0.5,sa=4
    """
    options: dict[str, Any] = {
        "samples": samples,
        "seed": seed,
        "steps": steps,
        "solver": solver,
        "guidance": guidance,
    }
    if filter is not None:
        from perrin.evaluate.molecule_filter import Filter

        options["asked"] = {"filter": Filter.parse(filter)}
    figures, folder = judged(run, device=choose_device(device), out=out, **options)
    if as_json:
        emit({**figures, "folder": folder})
        return
    print_figures(figures)
    print(f"\nreport: {folder / 'report.html'}, with the samples beside it")
    if figures.get("filter", {}).get("survivors"):
        print(
            f"survivors: {figures['filter']['survivors']} in {folder / 'survivors.sdf'}, the highest QED first"
        )


def judged(run: Path, **options: Any) -> tuple[dict[str, Any], Path]:
    """`evaluate.judging.judge` with a progress display for each of its parts."""
    from perrin.evaluate.judging import judge

    with ExitStack() as shown:
        part, before, advance = "", 0, None

        def told(what: str, done: int, total: int) -> None:
            nonlocal part, before, advance
            if what != part or advance is None:
                shown.close()
                part, before, advance = what, 0, shown.enter_context(progress(what, total))
            advance(done - before)
            before = done

        return judge(run, progress=told, **options)


def print_figures(figures: dict[str, Any]) -> None:
    """The table of figures, for people."""
    from perrin.evaluate.meanings import rows

    heads = figures.get("columns", {})
    kinds = ("value", "baseline", "ceiling", "control")
    print(f"\n{'':<26}" + "".join(f"{heads.get(kind, kind):>14}" for kind in kinds))
    for row in rows(figures):
        cells = (row.value, row.baseline, row.ceiling, row.control)
        print(f"{row.label:<26}" + "".join(f"{'-' if c is None else format(c, '.3f'):>14}" for c in cells))
    print(f"features: {figures['features']}; baseline: {figures['baseline']}")
