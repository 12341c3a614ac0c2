"""`perrin train`: from a recipe and data to a run folder with a model in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit, program, progress
from perrin.errors import PerrinError


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A built-in recipe (perrin models --recipes) or a .yaml file; with --resume, a run."
        ),
    ],
    data: Annotated[
        str | None, typer.Argument(help="The data: a folder or file, for the recipe's data.path.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The run folder; runs/NAME by default.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: --set training.lr=1e-3 (repeatable).")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Start from the weights of this model.", metavar="MODEL")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run exactly where it was saved.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check data and recipe, run one batch, write nothing.")
    ] = False,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Judge the model afterwards; write report.html.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a model; the run folder holds everything, and Ctrl-C saves before it stops.

    Example:
      perrin train digits --out runs/digits
      perrin train images photos/ --set codec.size=64 --out runs/photos
      perrin train --resume runs/photos
    """
    from perrin import api

    chosen = choose_device(device)
    changes: list[str] = list(set_ or [])
    changes += [f"training.steps={steps}"] if steps is not None else []
    changes += [f"training.seed={seed}"] if seed is not None else []
    content = None if resume else _content(recipe, data, changes)
    if resume and (changes or data or start):
        raise PerrinError(
            "--resume continues a run as it is; it takes no data, --set, --steps, --seed or --from"
        )
    if dry_run:
        _dry_run(content, recipe, as_json)
        return
    options: dict[str, Any] = {"out": out, "resume": resume, "overwrite": overwrite, "start": start}
    options["device"] = chosen
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        api.train(recipe if content is None else content, **options)
        return
    with progress("training") as advance:
        done = 0

        def told(step: int, total: int, note: str) -> None:
            nonlocal done
            advance(step - done, note=note, total=total)
            done = step

        run = api.train(recipe if content is None else content, progress=told, **options)
    figures = _judge(run.folder, chosen) if evaluate else {}
    if as_json:
        emit(
            {"folder": str(run.folder), "hash": run.model.hash, "about": run.model.about, "figures": figures}
        )
    else:
        _tell(run, figures)


def _content(recipe: str, data: str | None, changes: list[str]) -> dict[str, Any]:
    from perrin.training import recipe as recipes

    content = recipes.read(recipe)
    if data is not None:
        content = recipes.merge(content, {"data": {"path": data}})
    for change in changes:
        content = recipes.set_value(content, change)
    return content


def _dry_run(content: dict[str, Any] | None, recipe: str, as_json: bool) -> None:
    from perrin.training import recipe as recipes
    from perrin.training.setup import prepare, report

    chosen = recipes.validate(content if content is not None else recipes.read(Path(recipe) / "recipe.yaml"))
    facts = report(prepare(chosen))
    if as_json:
        emit(facts)
        return
    for name, value in facts.items():
        print(f"{name:<18} {_shown(name, value)}")


def _shown(name: str, value: Any) -> str:
    """A fact as people read it: shapes with crosses, lists with commas, few digits."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(key, inner)}" for key, inner in value.items() if inner is not None)
    if isinstance(value, list):
        cross = name in ("state shape", "batch")
        return (" x " if cross else ", ").join(str(entry) for entry in value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _judge(folder: Path, device: str) -> dict[str, Any]:
    from perrin.cli.evaluate import judged

    return judged(folder, device=device)[0]


def _tell(run: Any, figures: dict[str, Any]) -> None:
    from perrin.cli.evaluate import print_figures

    if figures:
        print_figures(figures)
        print(f"\nreport: {run.folder / 'report.html'}, with the samples beside it")
    print(f"\nmodel: {run.folder}    what to try next:")
    if run.recipe.task == "classifier":
        label = run.model.codec.classes[-1]
        print(f"  {program()} sample MODEL --classifier {run.folder} --label {label} --guidance 4")
        return
    label = f" --label {run.model.codec.classes[-1]}" if run.model.codec.classes else ""
    name, page = program(), "denoising.gif" if run.model.codec.categories is None else "writing.html"
    print(f"  {name} sample {run.folder} -n 16{label} --out samples")
    print(f"  {name} sample {run.folder} -n 16 --trajectory --out {page}")
    print(f"  {name} evaluate {run.folder} --steps 8")
