"""`perrin distill`: from a trained model to one that samples in one to four evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit, program, progress


def command(
    model: Annotated[str, typer.Argument(help="The teacher: a run folder, a model folder or a Hub id.")],
    data: Annotated[
        str | None, typer.Argument(help="The data, where the teacher's folder does not say it.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="How: trajectory (needs no data), shortcut or consistency.")
    ] = "trajectory",
    out: Annotated[
        Path | None, typer.Option("--out", help="The run folder; runs/NAME-METHOD by default.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="Weight of the condition to distil under; the teacher's by default."),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Training steps.")] = None,
    cpu_seconds: Annotated[
        float | None, typer.Option("--cpu-seconds", help="End after so much time of the processor.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one value: --set training.lr=1e-3 (repeatable).")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run that is there.")] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Distil a model to one to four evaluations; guidance becomes part of the student.

    Example:
      perrin distill runs/mnist --cpu-seconds 1200 --out runs/mnist-fast
      perrin sample runs/mnist-fast --steps 1 -n 36 --out grid.png
      perrin train --resume runs/mnist-fast
    """
    from perrin import api
    from perrin.training import recipe as recipes

    changes: dict[str, Any] = {}
    given = {"steps": steps, "cpu_seconds": cpu_seconds, "seed": seed}
    for change in [*(f"training.{k}={v}" for k, v in given.items() if v is not None), *(set_ or [])]:
        changes = recipes.set_value(changes, change)
    with progress("distilling") as advance:
        done = 0

        def told(step: int, total: int, note: str) -> None:
            nonlocal done
            advance(step - done, note=note, total=total)
            done = step

        run = api.distill(
            model,
            method=method,
            data=data,
            guidance=guidance,
            out=out,
            overwrite=overwrite,
            device=choose_device(device),
            progress=told,
            **changes,
        )
    student = run.model
    if as_json:
        emit(
            {
                "folder": str(run.folder),
                "hash": student.hash,
                "about": student.about,
                "evaluations": student.sampling.evaluations,
            }
        )
        return
    counts = ", ".join(str(n) for n in student.sampling.evaluations or ())
    print(f"\nmodel: {run.folder}, for {counts} evaluations    what to try next:")
    for count in student.sampling.evaluations or ():
        print(f"  {program()} sample {run.folder} --steps {count} -n 16 --out samples-{count}")
    print(f"  {program()} evaluate {run.folder} --steps 1")
