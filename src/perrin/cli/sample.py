"""`perrin sample`: draw from a model into files that say how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit, progress
from perrin.errors import PerrinError


def command(
    model: Annotated[str, typer.Argument(help="A run folder, a model folder or a Hub id.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 16,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for single files and a grid, or one file.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            help="A class, or one for each sample; 'none' is unconditional. All in turn by default.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Which samples.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the solver.")] = None,
    solver: Annotated[str | None, typer.Option("--solver", help="See perrin models --solvers.")] = None,
    plan: Annotated[
        Path | None, typer.Option("--plan", help="A plan saved as JSON, instead of solver and steps.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Weight of the condition; 1 is none.")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(
            "--classifier",
            help="A classifier of noisy states, whose classes --label names and --guidance weighs (default 1).",
        ),
    ] = None,
    reuse: Annotated[
        int,
        typer.Option(
            "--reuse", help="Run the lower resolutions of the network at every so many evaluations only."
        ),
    ] = 1,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Samples at a time; what fits by default.")
    ] = None,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Write an animated GIF of the denoising too.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Draw samples from a model.

    Example:
      perrin sample runs/digits -n 16 --label 7 --out sevens
      perrin sample runs/digits -n 36 --out grid.png
      perrin sample runs/digits -n 16 --trajectory --out denoising.gif
      perrin sample runs/sde --classifier runs/classifier --label 3 --guidance 4 --out threes
    """
    from perrin import api
    from perrin.sample import Plan

    loaded = api.load(model, device=choose_device(device))
    guide = None if classifier is None else api.load(classifier, device=choose_device(device))
    target = out or Path("samples")
    animation = _animation(target) if trajectory else None
    options: dict[str, Any] = {"label": label[0] if len(label) == 1 else label} if label else {}
    with progress("sampling") as advance:
        before = 0

        def told(done: int, total: int) -> None:
            nonlocal before
            advance(done - before, total=total)
            before = done

        samples = loaded.sample(
            n,
            seed=seed,
            steps=steps,
            solver=solver,
            plan=None if plan is None else Plan.load(plan),
            guidance=guidance,
            classifier=guide,
            reuse=reuse,
            batch=batch,
            progress=told,
            trace=trajectory,
            **options,
        )
    files = [] if target.suffix == ".gif" else samples.save(target)
    if animation is not None:
        files.append(_animate(samples, animation))
    if as_json:
        facts = {"files": files, "evaluations_per_sample": samples.evaluations, "tuned": samples.tuned}
        emit(facts | {"model_hash": loaded.hash})
    else:
        fitted = " by a plan that was tuned for them" if samples.tuned else ""
        print(f"{n} samples of {samples.evaluations} evaluations{fitted}: {files[0]}" + _others(files))


def _others(files: list[Path]) -> str:
    return f" and {len(files) - 1} other files" if len(files) > 1 else ""


def _animation(target: Path) -> Path:
    if target.suffix == ".gif":
        return target
    return target.with_suffix(".gif") if target.suffix else target / "trajectory.gif"


def _animate(samples: Any, path: Path) -> Path:
    from perrin.kinds.images import save_animation

    frames = samples.trajectory()
    if not frames:
        raise PerrinError(f"this kind of data has no pictures, so there is no trajectory to write to {path}")
    return save_animation(frames, path, {"items": samples.provenance})
