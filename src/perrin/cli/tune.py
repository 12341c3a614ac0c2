"""`perrin tune`: fit a plan of few evaluations to a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perrin.cli.common import Device, Json, choose_device, emit, program, progress


def command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a Hub id.")],
    steps: Annotated[int, typer.Option("--steps", help="Evaluations of the plan.")] = 6,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Weight to fit under; the model's own by default.")
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
        Path | None, typer.Option("--out", help="The plan's file; MODEL/plans/STEPS.json by default.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which seeds.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Fit the levels and coefficients of a plan to a model, so that few evaluations end where many would.

    Example:
      perrin tune runs/mnist --steps 6
      perrin sample runs/mnist --steps 6 -n 36 --out grid.png
    """
    from perrin import api

    loaded = api.load(model, device=choose_device(device))
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
        print(f"{tuned.path}: {program()} sample {model} {use}   samples with it")
