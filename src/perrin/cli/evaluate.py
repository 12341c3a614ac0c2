"""`perrin evaluate`: how good a trained model is, each figure beside what makes it readable."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit, progress
from perrin.errors import PerrinError


def command(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run folder, whose recipe says where the data are; with --data any model of images or arrays."
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="Of a model without a run, such as a pretrained folder: the pictures to judge it beside, and how to read "
            "them, such as labels=false (repeatable).",
            metavar="PATH|KEY=VALUE",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", help="Of models of texts: a file with a prompt a line, which are drawn in turn."
        ),
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", help="Of such models: what pictures do not show.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="Beside data without classes: the class to draw.")
    ] = None,
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
      perrin evaluate stable-diffusion --data photos/ --prompts prompts.txt -n 200 --steps 20
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
    told = {"prompts": prompts, "negative": negative, "label": label}
    if data:
        options |= {"data": data, "told": told}
    refuse_idle(told if not data else {"filter": filter}, bool(data))
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


def refuse_idle(given: Mapping[str, Any], beside: bool) -> None:
    """Refuse options that say nothing where a model is judged beside --data, or where it is not."""
    for name, value in given.items():
        if value is not None:
            raise PerrinError(
                f"--{name} is for runs, not for --data"
                if beside
                else f"--{name} goes with --data: a run has its own"
            )


def judged(
    run: Path, *, data: Sequence[str] | None = None, device: str = "cpu", **options: Any
) -> tuple[dict[str, Any], Path]:
    """`evaluate.judging.judge`, or beside data `evaluate.beside.judge_beside`, with a progress display for each part."""
    with ExitStack() as shown:
        part, before, advance = "", 0, None

        def told(what: str, done: int, total: int) -> None:
            nonlocal part, before, advance
            if what != part or advance is None:
                shown.close()
                part, before, advance = what, 0, shown.enter_context(progress(what, total))
            advance(done - before)
            before = done

        if data:
            return _beside(run, data, device, progress=told, **options)
        from perrin.evaluate.judging import judge

        return judge(run, device=device, progress=told, **options)


def _beside(
    place: Path, data: Sequence[str], device: str, *, told: Mapping[str, Any], **options: Any
) -> tuple[dict[str, Any], Path]:
    """Judge a model beside the data that --data says.

    Raises:
        PerrinError: a run, which has its own data; no path, or two.
    """
    from perrin.cli.tune import lines_of
    from perrin.evaluate.beside import Words, judge_beside
    from perrin.evaluate.likelihoods import options as read
    from perrin.loading import load

    paths = [one for one in data if "=" not in one or Path(one).exists()]
    if len(paths) != 1:
        raise PerrinError(f"--data says {len(paths)} paths; give one, and KEY=VALUE for how to read it")
    if (place / "recipe.yaml").is_file():
        raise PerrinError(f"{place} is a run, whose recipe says what it is judged beside: leave --data out")
    model = load(str(place), device=device)
    if hasattr(model, "chosen"):
        print(model.chosen, file=sys.stderr)
    prompts = told["prompts"]
    words = Words(None if prompts is None else lines_of(prompts), told["negative"], told["label"])
    opened = {"path": paths[0], **read([one for one in data if one not in paths])}
    return judge_beside(model, opened, words, **options)


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
