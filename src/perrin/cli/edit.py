"""`perrin edit`: a part of a picture repainted towards a class or a prompt, or all of it changed by some strength."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perrin.cli import folder_options as of_folder
from perrin.cli import guidance_options as of_guidance
from perrin.cli import picture_options as of_pictures
from perrin.cli.common import Device, Json, emit, progress
from perrin.cli.pretrained import Opened


def command(
    model: Annotated[
        str, typer.Argument(help="A run folder, a model folder, a pretrained folder or a Hub id.")
    ],
    image: Annotated[Path, typer.Argument(help="A picture of any size.")],
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            help="A black picture of the same size in which white is repainted; nothing else changes.",
        ),
    ] = None,
    label: Annotated[str, typer.Option("--label", help="A class to repaint towards.")] = "none",
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help="Of pretrained folders: what the picture shows.", rich_help_panel="Prompts"
        ),
    ] = None,
    negative: of_pictures.Negative = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="Weight of the label or the prompt; the model's own by default."),
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
    true_guidance: of_guidance.TrueGuidance = None,
    height: of_pictures.Height = None,
    width: of_pictures.Width = None,
    lora: of_folder.Lora = None,
    tiles: of_folder.Tiles = None,
    dtype: of_folder.Dtype = None,
    offload: of_folder.Offload = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Edit a picture: repaint what a mask marks, or change all of it by some strength.

    The repainted part is put back at the picture's own resolution; outside the mask every pixel stays as it was.

    Example:
      perrin edit runs/mnist digit.png --mask hole.png --label 7
      perrin edit runs/mnist digit.png --mask hole.png --label 3 --guidance 2 --samples 1 --out three.png
      perrin edit runs/mnist digit.png --strength 0.6 --label 8
      perrin edit stable-diffusion photo.png --mask hole.png --prompt "a cat" --negative blurry
    """
    from perrin.restoring import edit

    loaded = Opened(device, lora or (), tiles=tiles, dtype=dtype, offload=offload).model(model)
    target = out or Path(f"edited-{image.name.split('.')[0]}")
    with progress("editing") as advance:
        before = 0

        def told(done: int, total: int) -> None:
            nonlocal before
            advance(done - before, total=total)
            before = done

        found = edit(
            loaded, image, mask=mask, label=label, prompt=prompt, negative=negative, guidance=guidance, strength=strength,
            samples=samples, method=method, steps=steps, solver=solver, seed=seed, batch=batch,
            true_guidance=true_guidance, height=height, width=width, progress=told,
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
