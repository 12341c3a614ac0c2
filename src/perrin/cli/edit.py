"""`perrin edit`: a part of a picture repainted towards a class, or all of it changed by some strength."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perrin.cli.common import Device, Json, choose_device, emit, progress


def command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a Hub id.")],
    image: Annotated[Path, typer.Argument(help="A picture of any size.")],
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            help="A black picture of the same size in which white is repainted; nothing else changes.",
        ),
    ] = None,
    label: Annotated[str, typer.Option("--label", help="A class to repaint towards.")] = "none",
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Weight of the label; the model's own by default.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            help="How far from the picture, above 0 and up to 1: the share of the steps that is run from the noised "
            "picture on. With a mask 1 by default.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many edits.")] = 4,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder, or a .png of one edit; edited-NAME by default.")
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", help="How what is outside is told; see perrin models --methods.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="See perrin models --solvers.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which edits.")] = 0,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Edits at a time; what fits by default.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Edit a picture: repaint what a mask marks, or change all of it by some strength.

    The repainted part is put back at the picture's own resolution; outside the mask every pixel stays as it was.

    Example:
      perrin edit runs/mnist digit.png --mask hole.png --label 7
      perrin edit runs/mnist digit.png --mask hole.png --label 3 --guidance 2 --samples 1 --out three.png
      perrin edit runs/mnist digit.png --strength 0.6 --label 8
    """
    from perrin.restoring import edit

    target = out or Path(f"edited-{image.name.split('.')[0]}")
    with progress("editing") as advance:
        before = 0

        def told(done: int, total: int) -> None:
            nonlocal before
            advance(done - before, total=total)
            before = done

        found = edit(
            model, image, mask=mask, label=label, guidance=guidance, strength=strength, samples=samples, method=method,
            steps=steps, solver=solver, seed=seed, batch=batch, device=choose_device(device), progress=told,
        )  # fmt: skip
    files = found.save(target)
    if as_json:
        emit(
            {
                "files": files,
                "evaluations_per_sample": found.samples.evaluations,
                "largest_change_outside_the_mask": found.change_outside,
                "model_hash": found.samples.provenance[0]["model_hash"],
            }
        )
        return
    print(f"{samples} edits of {found.samples.evaluations:g} evaluations: {files[-1]}")
