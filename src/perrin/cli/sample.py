"""`perrin sample`: draw from a model into files that say how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perrin.cli.common import Device, Json, choose_device, emit, progress
from perrin.cli.pretrained import changed
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
    interval: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--interval",
            help="Levels (log SNR) within which to guide.",
            metavar="LOW HIGH",
            rich_help_panel="Guidance",
        ),
    ] = None,
    rescale: Annotated[
        float | None,
        typer.Option(
            "--rescale",
            help="0 to 1: how far guided images keep the spread of unguided ones.",
            rich_help_panel="Guidance",
        ),
    ] = None,
    projected: Annotated[
        bool,
        typer.Option(
            "--projected",
            help="Leave out what saturates of the guidance, for large weights.",
            rich_help_panel="Guidance",
        ),
    ] = False,
    weaker: Annotated[
        str | None,
        typer.Option(
            "--weaker",
            help="Guide away from a weaker version of the model: another run, or weights such as RUN/ema/*.safetensors.",
            metavar="PATH",
            rich_help_panel="Guidance",
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
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help="What pictures show; of texts: how they begin.", rich_help_panel="Prompts"
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option("--negative", help="What pictures do not show.", rich_help_panel="Prompts"),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option("--height", help="Of such pictures, in pixels.", rich_help_panel="Prompts"),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", help="Of such pictures, in pixels.", rich_help_panel="Prompts")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            "--image", help="A picture to begin at, or to fill a hole in.", rich_help_panel="Prompts"
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength", help="0 to 1: how far from the picture (default .6).", rich_help_panel="Prompts"
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", help="Of the picture: white where to fill it.", rich_help_panel="Prompts"),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option("--control", help="A picture for the ControlNet.", rich_help_panel="Prompts"),
    ] = None,
    control_scale: Annotated[
        float | None,
        typer.Option("--control-scale", help="How much it counts (default 1).", rich_help_panel="Prompts"),
    ] = None,
    control_net: Annotated[
        Path | None,
        typer.Option("--control-net", help="A folder of a ControlNet.", rich_help_panel="Prompts"),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora",
            help="A LoRA to merge into the weights (repeatable).",
            metavar="FILE[:SCALE]",
            rich_help_panel="Prompts",
        ),
    ] = None,
    seamless: Annotated[
        bool,
        typer.Option("--seamless", help="Pictures whose borders fit each other.", rich_help_panel="Prompts"),
    ] = False,
    tiles: Annotated[
        int | None,
        typer.Option("--tiles", help="Decode in tiles of so many pixels.", rich_help_panel="Prompts"),
    ] = None,
    infill: Annotated[
        str | None,
        typer.Option(
            "--infill",
            help="Of texts: a pattern with gaps to fill, each ___ (three or more) of as many tokens.",
            rich_help_panel="Texts",
        ),
    ] = None,
    gap: Annotated[
        int | None, typer.Option("--gap", help="Tokens of each gap instead.", rich_help_panel="Texts")
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", help="Tokens of each text.", rich_help_panel="Texts")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", help="Below 1: surer tokens, less variety.", rich_help_panel="Texts"),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            "--top-p", help="Draw from the likeliest tokens of this share.", rich_help_panel="Texts"
        ),
    ] = None,
    property_: Annotated[
        list[str] | None,
        typer.Option(
            "--property",
            help="Of molecules: what they are to be, such as logp=2.5 (repeatable).",
            metavar="NAME=VALUE",
            rich_help_panel="Molecules",
        ),
    ] = None,
    scaffold: Annotated[
        str | None,
        typer.Option(
            "--scaffold", help="Of molecules: atoms they must have, as SMILES.", rich_help_panel="Molecules"
        ),
    ] = None,
    smiles: Annotated[
        str | None,
        typer.Option("--smiles", help="Of conformers: the molecule.", rich_help_panel="Molecules"),
    ] = None,
    trajectory: Annotated[
        bool,
        typer.Option(
            "--trajectory",
            help="Write the denoising too: an animated GIF, or of texts a page in which words appear.",
        ),
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
      perrin sample runs/mnist --guidance 4 --projected --interval -3 4
      perrin sample runs/mnist --guidance 2 --weaker runs/mnist-short
      perrin sample stable-diffusion -n 4 --prompt "a (red:1.2) cube" --negative blurry --guidance 5 --solver dpmpp_2m
      perrin sample stable-diffusion --prompt "in oil" --image photo.png --strength 0.5 --lora style.safetensors:0.8
      perrin sample runs/text -n 4 --prompt "ROMEO:" --length 400
      perrin sample runs/text -n 4 --infill "To be, ___ not to be" --trajectory
      perrin sample runs/molecules -n 100 --property logp=2.5 --out molecules.sdf
      perrin sample conformers -n 10 --smiles "CCOC(=O)c1ccccc1" --out conformers.sdf
    """
    from perrin import api
    from perrin.sample import Plan

    loaded = changed(api.load(model, device=choose_device(device)), lora or [], control_net, seamless, tiles)
    guide = None if classifier is None else api.load(classifier, device=choose_device(device))
    weak = None
    if weaker is not None:
        weak = loaded.weaker(weaker if Path(weaker).is_file() else api.load(weaker))
    target = out or Path("samples")
    animation = _animation(target, loaded) if trajectory else None
    options: dict[str, Any] = {"label": label[0] if len(label) == 1 else label} if label else {}
    shown: dict[str, Any] = {"negative": negative, "height": height, "width": width}
    shown |= {"image": image, "strength": strength, "mask": mask, "control": control}
    shown["control-scale"] = control_scale
    if hasattr(loaded.codec, "null"):  # of prompts
        refuse_others({"--infill": infill, "--gap": gap, "--length": length}, "texts")
        asked = {"prompt": prompt, **shown}
        options |= {name.replace("-", "_"): v for name, v in asked.items() if v is not None}
    else:
        refuse_others({f"--{name}": v for name, v in shown.items()}, "pictures from prompts")
        options |= _beginning(loaded, prompt, infill, gap, length)
    options |= _wanted(loaded, property_ or [], {"scaffold": scaffold, "smiles": smiles})
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
            interval=interval,
            rescale=rescale,
            projected=projected or None,
            weaker=weak,
            reuse=reuse,
            batch=batch,
            progress=told,
            trace=trajectory,
            temperature=temperature,
            top_p=top_p,
            **options,
        )
    files = [] if target == animation else samples.save(target)
    if animation is not None:
        files.append(samples.save_trajectory(animation))
    if as_json:
        facts = {"files": files, "evaluations_per_sample": samples.evaluations, "tuned": samples.tuned}
        emit(facts | {"model_hash": loaded.hash})
    else:
        if isinstance(samples.decoded[0], str):  # a text is read at once
            print("\n".join(f"--- {i}\n{text.rstrip()}" for i, text in enumerate(samples.decoded)) + "\n---")
        fitted = " by a plan that was tuned for them" if samples.tuned else ""
        print(f"{n} samples of {samples.evaluations:g} evaluations{fitted}: {files[0]}" + _others(files))


def refuse_others(given: dict[str, Any], of: str) -> None:
    """Refuse options that are for models of something else."""
    for name, value in given.items():
        if value is not None:
            raise PerrinError(f"{name} is for models of {of}")


def _others(files: list[Path]) -> str:
    return f" and {len(files) - 1} other files" if len(files) > 1 else ""


def _animation(target: Path, model: Any) -> Path:
    suffix = ".gif" if model.codec.categories is None else ".html"
    if target.suffix == suffix:
        return target
    return target.with_suffix(suffix) if target.suffix else target / f"trajectory{suffix}"


def _wanted(model: Any, properties: list[str], given: dict[str, str | None]) -> dict[str, Any]:
    """What molecules are to be, as their codec's `outline` takes it."""
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for text in properties:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise PerrinError(f"--property {text!r}: write NAME=VALUE, such as logp=2.5")
    if found and not hasattr(model.codec, "outline"):
        raise PerrinError("--property, --scaffold and --smiles are for models of molecules")
    return found


def _beginning(
    model: Any, prompt: str | None, infill: str | None, gap: int | None, length: int | None
) -> dict[str, Any]:
    """What is known of texts before they are drawn, as `Model.sample` takes it."""
    if infill is None and gap is not None:
        raise PerrinError("--gap is the size of the gaps of --infill")
    if infill is not None and (prompt is not None or length is not None):
        raise PerrinError("--infill is a whole pattern; --prompt and --length are for texts that go on")
    if prompt is None and infill is None:
        return {"length": length}
    if not hasattr(model.codec, "known"):
        raise PerrinError("--prompt and --infill are for models of text")
    return {"known": model.codec.known(prompt, length) if infill is None else model.codec.infill(infill, gap)}
