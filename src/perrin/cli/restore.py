"""`perrin restore`: a damaged file restored many times: the mean, how sure it is, and the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from perrin.cli.common import Device, Json, choose_device, emit, progress
from perrin.cli.forecast import check_folder
from perrin.errors import PerrinError

OF_TASK = "Options of the tasks"


def command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a Hub id.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="The damaged thing: a picture, .npy/.npz/.csv, NIfTI, DICOM (file or folder), .wav."
        ),
    ],
    task: Annotated[str, typer.Option("--task", help="What was done to it; see perrin models --tasks.")],
    sigma: Annotated[
        str | None,
        typer.Option(
            "--sigma",
            help="Standard deviation of its noise in its own units (pixels 0..255, HU, ...), or auto. Task denoise: "
            "auto by default, else 0.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("-n", "--samples", help="How many of each item.")] = 8,
    out: Annotated[Path | None, typer.Option("--out", help="A folder; restored-NAME by default.")] = None,
    simulate: Annotated[
        bool,
        typer.Option("--simulate", help="The file is clean: measure it, add noise, restore it, compare."),
    ] = False,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask",
            help="inpaint: a black picture in which white is to be filled (or .npy of bools, True likewise). mri: "
            "white or True is what was measured.",
            rich_help_panel=OF_TASK,
        ),
    ] = None,
    std: Annotated[
        float | None,
        typer.Option("--std", help="deblur: of the Gaussian, in pixels.", rich_help_panel=OF_TASK),
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", help="motion: of the way, in pixels.", rich_help_panel=OF_TASK)
    ] = None,
    angle: Annotated[
        float | None,
        typer.Option(
            "--angle", help="motion: degrees, counter-clockwise from the rows.", rich_help_panel=OF_TASK
        ),
    ] = None,
    factor: Annotated[
        int | None, typer.Option("--factor", help="upscale: how many times larger.", rich_help_panel=OF_TASK)
    ] = None,
    acceleration: Annotated[
        float | None,
        typer.Option(
            "--acceleration", help="mri: 1 / the share of columns measured.", rich_help_panel=OF_TASK
        ),
    ] = None,
    centre: Annotated[
        float | None,
        typer.Option(
            "--centre", help="mri: share of columns about the middle, all measured.", rich_help_panel=OF_TASK
        ),
    ] = None,
    pattern: Annotated[
        int | None,
        typer.Option("--pattern", help="mri, compressed: seed of what is measured.", rich_help_panel=OF_TASK),
    ] = None,
    coils: Annotated[
        Path | None,
        typer.Option(
            "--coils", help="mri: sensitivities, complex .npy [coils, H, W].", rich_help_panel=OF_TASK
        ),
    ] = None,
    angles: Annotated[
        int | None, typer.Option("--angles", help="ct: how many, from 0 on.", rich_help_panel=OF_TASK)
    ] = None,
    span: Annotated[
        float | None, typer.Option("--span", help="ct: degrees that they cover.", rich_help_panel=OF_TASK)
    ] = None,
    share: Annotated[
        float | None,
        typer.Option("--share", help="compressed: of the numbers measured.", rich_help_panel=OF_TASK),
    ] = None,
    gaps: Annotated[
        str | None,
        typer.Option(
            "--gaps", help='gaps: start:stop in samples, "120:180,400:440".', rich_help_panel=OF_TASK
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            "--limit", help="declip: where the signal was cut off, in its units.", rich_help_panel=OF_TASK
        ),
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="See perrin models --methods.")] = None,
    particles: Annotated[
        bool,
        typer.Option(
            "--particles", help="Draw the samples together by sequential Monte Carlo: dearer, surer."
        ),
    ] = False,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="See perrin models --solvers.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which samples.")] = 0,
    label: Annotated[str, typer.Option("--label", help="A class that it is of.")] = "none",
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="What the picture shows, of a pretrained model of texts.")
    ] = None,
    negative: Annotated[str | None, typer.Option("--negative", help="What it does not show.")] = None,
    height: Annotated[
        int | None,
        typer.Option("--height", help="In pixels, of a pretrained model; the picture's own by default."),
    ] = None,
    width: Annotated[int | None, typer.Option("--width", help="Likewise.")] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="Weight of label or prompt; the model's own by default."),
    ] = None,
    volume: Annotated[
        int | None, typer.Option("--volume", help="Which one of a 4-D NIfTI file, counted from 0.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            "--scale", help="Arrays, recordings: times this they have the units of the model's data; or auto."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Samples at a time; what fits by default.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Restore a damaged file: its mean, a map of how sure that is, intervals and samples, in a folder.

    Pictures are resized as training images are; k-space, sinograms and small pictures must fit exactly.

    Example:
      perrin restore runs/mnist digit.png --task inpaint --mask hole.png
      perrin restore runs/mnist noisy.png --task denoise --sigma auto --samples 16
      perrin restore runs/mnist small.png --task upscale --factor 4 --out large
      perrin restore runs/mri kspace.npy --task mri --sigma 2
      perrin restore runs/ct scan.nii.gz --task ct --angles 30 --sigma 5 --simulate
      perrin restore stable-diffusion photo.png --task inpaint --mask hole.png --prompt "a red fox" --sigma 4
      perrin restore runs/voice call.wav --task gaps --gaps "120:180,400:440"
    """
    from perrin.editing.telling import lines
    from perrin.restoring import restore

    said: dict[str, Any] = {
        "mask": mask, "std": std, "length": length, "angle": angle, "factor": factor, "acceleration": acceleration,
        "centre": centre, "pattern": pattern, "coils": coils, "angles": angles, "span": span, "share": share,
        "gaps": gaps, "limit": limit,
    }  # fmt: skip
    target = out or Path(f"restored-{file.name.split('.')[0]}")
    check_folder(target)
    with progress("restoring") as advance:
        before = 0

        def told(done: int, total: int) -> None:
            nonlocal before
            advance(done - before, total=total)
            before = done

        found = restore(
            model, file, task, sigma=number_or_auto("--sigma", sigma),
            scale=number_or_auto("--scale", scale), simulate=simulate, samples=samples, method=method,
            particles=particles, steps=steps, solver=solver, seed=seed, label=label, prompt=prompt, negative=negative,
            height=height, width=width, guidance=guidance, batch=batch, volume=volume,
            device=choose_device(device), progress=told,
            **{name: value for name, value in said.items() if value is not None},
        )  # fmt: skip
    files = found.save(target)
    if as_json:
        emit({**found.about, "stripped": found.form.stripped(), "files": files})
        return
    print("\n".join(lines(found)))
    print(f"{target / 'overview.png'} shows it; beside it are {len(files) - 1} other files")


def number_or_auto(option: str, text: str | None) -> float | Literal["auto"] | None:
    """The value of such an option.

    Raises:
        PerrinError: neither a number nor auto.
    """
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise PerrinError(f"{option} {text!r}: write a number, or auto") from error
