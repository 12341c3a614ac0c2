"""`perrin tune`: fit a plan of few evaluations to a trained model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from perrin.cli.common import Device, Json, choose_device, emit, program, progress
from perrin.errors import PerrinError


def command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a Hub id.")],
    steps: Annotated[int, typer.Option("--steps", help="Evaluations of the plan.")] = 6,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Weight to fit under; the model's own by default.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts", help="Of models of texts: a file with a prompt a line; plain ones by default."
        ),
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", help="Of such models: what pictures do not show.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Seeds to fit on; half as many others decide.")] = 96,
    starts: Annotated[int, typer.Option("--starts", help="Starts that are explored.")] = 2,
    iterations: Annotated[
        int, typer.Option("--iterations", help="For exploring a start; later stages take more.")
    ] = 6,
    chunk: Annotated[
        int | None, typer.Option("--chunk", help="Seeds at a time; what fits by default.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The plan's file; MODEL/plans/STEPS.json by default, beside a pretrained folder."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which seeds.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Fit the levels and coefficients of a plan to a model, so that few evaluations end where many would.

    Example:
      perrin tune runs/mnist --steps 6
      perrin sample runs/mnist --steps 6 -n 36 --out grid.png
      perrin tune stable-diffusion --steps 8 --prompts prompts.txt --guidance 5
    """
    from perrin import api

    loaded = api.load(model, device=choose_device(device))
    if hasattr(loaded, "chosen"):
        print(loaded.chosen, file=sys.stderr)
    with progress("tuning") as advance:
        before = 0

        def told(done: int, total: int, note: str) -> None:
            nonlocal before
            advance(max(0, done - before), note=note, total=total)
            before = max(before, done)

        tuned = api.tune(
            loaded,
            steps,
            guidance=guidance,
            prompts=None if prompts is None else lines_of(prompts),
            negative=negative,
            out=out,
            seeds=seeds,
            starts=starts,
            iterations=iterations,
            seed=seed,
            chunk=chunk,
            progress=told,
        )
    facts = tuned.plan.fitted or {}
    if as_json:
        emit({"helped": tuned.helped, "plan": tuned.path, **facts})
    elif not tuned.helped:
        print(f"tuning did not help: on unseen seeds {tuned.plan.name} is as good; nothing was written")
    else:
        (median, better), (square, less) = facts["median"], facts["root_mean_square"]
        print(f"error on unseen seeds: median {median:.4f} -> {better:.4f}, rms {square:.4f} -> {less:.4f}")
        use = f"--plan {tuned.path}" if out is not None else f"--steps {steps}"
        use += "" if guidance is None else f" --guidance {guidance:g}"
        print(f"{tuned.path}: {program()} sample {model} {use}   samples with it")


def lines_of(path: Path) -> list[str]:
    """The lines of a file that hold anything.

    Raises:
        PerrinError: a file that cannot be read as text, or that holds none.
    """
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise PerrinError(f"the prompts {path} cannot be read: {error}") from error
    if not found:
        raise PerrinError(f"{path} holds no prompts; write one a line")
    return found
